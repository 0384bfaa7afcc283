"""Ways in which models write one and the same answer: `{a}` is the answer, `{L}` a letter, `{t}` its option's text.

What a careful reader reads out of all of them is the same; tests/evaluation/test_metamorphic.py says so for every
benchmark and every kind of answer.
"""

OPTION = (
    "{L}", "({L})", "{L}.", "({L}).", "[{L}]", "**{L}**", "**({L})**", "`{L}`", "*{L}*", "\"{L}\"", "${L}$",
    "\\boxed{{{L}}}", "$\\boxed{{{L}}}$", "\\[\\boxed{{{L}}}\\]", "\\boxed{{({L})}}", "\\boxed{{\\text{{{L}}}}}",
    "\\boxed{{\\textbf{{({L})}}}}", "\\boxed{{{L}. {t}}}", "\\boxed{{\\text{{({L}) }} {t}}}", "\\fbox{{{L}}}",
    "<answer>{L}</answer>", "<answer> ({L}) </answer>", "<think>It may be {w}. The answer is {w}.</think>\n{L}",
    "<think>\\boxed{{{w}}}</think>\n\\boxed{{{L}}}", "<think>Is it {w}? No.</think>The answer is {L}.",
    "<think>long</think>\n\n**Answer: {L}**", "[[{L}]]", "#### {L}", "Answer: {L}", "Answer:{L}", "Answer: ({L})",
    "ANSWER: {L}", "**Answer:** {L}", "**Answer**: {L}", "Answer: **{L}**", "Answer:\n{L}", "Answer:\n\n({L})",
    "### Answer\n{L}", "## Final Answer\n\n**{L}**", "**Final Answer**\n\\boxed{{{L}}}", "Final answer: {L}",
    "Final Answer: The final answer is ${L}$. I hope it is correct.", "The answer is {L}.", "The answer is: {L}",
    "The answer is ({L}).", "The answer is **{L}**.", "The answer is option {L}.",
    "The correct answer is ({L}) {t}.", "The correct answer is {L}: {t}", "The correct answer is: **{L}. {t}**",
    "The correct option is {L}.", "The correct choice is ({L}).", "The correct option letter is {L}.",
    "Therefore, the answer is {L}.", "Thus, the correct answer would be {L}.", "So the answer should be {L}.",
    "Hence, option {L} is correct.", "Option {L} is the correct answer.", "({L}) is correct.",
    "So, {L} is the right answer.", "I choose {L}.", "I would select option ({L}).", "I'd go with {L}.",
    "My answer is {L}.", "We pick ({L}).", "Therefore, {L}.", "So it must be {L}.", "Hence ({L}).", "{L}. {t}",
    "({L}) {t}", "{L}: {t}", "{L}) {t}", "({L}): {t}",
    "Let's see. We rule out the others one by one.\n\nAnswer: {L}", "Step 1: look.\nStep 2: compare.\n{L}",
    "Reasoning about it takes a while.\n\n({L})", "Looking at the picture, we compare all of them.\n\n**{L}**",
    "Option {w} is incorrect. Option {L} is right, so the answer is {L}.", "It is not {w}. The answer is {L}.",
    "At first I thought of {w}, but the correct answer is {L}.", "答案是{L}。", "答案：{L}", "答案为 ({L})",
    "故选{L}。", "因此选项{L}正确。", "所以正确答案是 {L}。", "选{L}", "{{\"answer\": \"{L}\"}}", "Answer - {L}",
    "=> {L}",
    "The answer: {L}. Let me know if you need more.", "Ans: {L}",
    "The best answer is {L}, because the others do not fit.", "{L}\n\nThe reason is that the others do not fit.",
    "({L}) {t}\n\nThis follows from the picture.", "The answer is ${L}$.", "The answer is $\\text{{{L}}}$.",
    "The answer is \\(\\boxed{{{L}}}\\).", "\\text{{Answer: }} {L}", "The final answer is: $\\boxed{{{L}}}$",
    "The answer is ({L}), {t}.",
)  # fmt: skip

VALUE = (
    "{a}", "{a}.", "**{a}**", "${a}$", "$${a}$$", "\\({a}\\)", "\\[{a}\\]", "`{a}`", "\\boxed{{{a}}}",
    "$\\boxed{{{a}}}$", "\\[\\boxed{{{a}}}\\]", "\\fbox{{{a}}}", "\\boxed{{ {a} }}.", "<answer>{a}</answer>",
    "<answer>${a}$</answer>", "#### {a}", "[[{a}]]", "<think>Maybe \\boxed{{{w}}}.</think>\n\\boxed{{{a}}}",
    "<think>The answer is {w}.</think>\n\nThe answer is {a}.", "<think>{w}?</think>{a}", "Answer: {a}",
    "**Answer:** {a}", "**Answer: {a}**", "Answer: ${a}$", "ANSWER: {a}", "Ans: {a}", "Answer:\n{a}",
    "### Answer\n\n{a}", "**Final Answer**\n\n${a}$", "## Final Answer\n\\[\n{a}\n\\]", "Final answer: {a}",
    "Final Answer: The final answer is ${a}$. I hope it is correct.", "The answer is {a}.", "The answer is: {a}",
    "The answer is **{a}**.", "The answer is ${a}$.", "The answer is \\({a}\\).", "The answer is:\n\\[ {a} \\]",
    "the answer is:\n$$ {a} $$", "The answer is:\n\n\\[\n{a}\n\\]", "The final answer is \\boxed{{{a}}}.",
    "The final answer is: $\\boxed{{{a}}}$", "So the final answer is {a}.", "Thus, the answer is ${a}$.",
    "Therefore, the answer is {a}.", "Hence the result is {a}.", "Hence, the correct answer is {a}.",
    "The correct answer is: {a}", "The answer would be {a}.", "My answer is {a}.",
    "The answer is approximately {a}.", "It is approximately {a}.",
    "We compute step by step.\nTherefore, the answer is {a}.",
    "First we set it up.\n\nThen we solve it.\n\n**Answer:** ${a}$", "So we get ${a}$.", "Thus we obtain {a}.",
    "{a} is the answer.", "So ${a}$ is the final answer.", "The solution is {a}.",
    "I first thought of {w}, but the answer is {a}.", "It is not {w}; the answer is {a}.",
    "The answer is {a}. I hope this helps!", "The answer is {a}. Let me know if you have questions.", "答案是{a}。",
    "答案：{a}", "所以答案是 ${a}$。", "因此，最终答案为 {a}。", "{{\"answer\": \"{a}\"}}", "\\text{{Answer: }} {a}",
    "The answer is\n\n{a}", "The answer: {a}", "Answer - {a}", "Result: {a}",
    "After checking {w} and others, the answer is {a}.", "So the answer is $\\displaystyle {a}$.",
    "The answer is $\\mathbf{{{a}}}$.", "The answer is $\\left.{a}\\right.$", "Final answer:\n\n{a}",
)  # fmt: skip
# Of numbers alone.
NUMBER = (
    "x = {a}", "$x = {a}$", "We find $x={a}$.", "So x = {a}.", "The value of x is {a}.",
    "The value of $x$ is ${a}$.", "There are {a} in total.", "There are {a} of them.", "In total there are {a}.",
    "The total is {a}.", "The result is approximately {a}.", "It equals {a}.", "{a} cm",
    "\\boxed{{{a} \\text{{ cm}}}}", "\\boxed{{{a}\\,\\text{{cm}}}}", "\\boxed{{{a}~\\mathrm{{cm}}}}",
    "\\boxed{{{a}\\mathrm{{~cm}}}}", "\\boxed{{{a}\\,\\text{{cm}}^2}}", "The length is {a} cm.",
    "The answer is {a} units.", "The answer is ${a}$ square units.", "= {a}", "The area is ${a}\\text{{ cm}}^2$.",
    "The distance is about {a} meters.", "\\boxed{{x = {a}}}", "Therefore, there are {a}.", "a + b = {a}",
    "\\[ x = {a} \\]", "共有 {a} 个", "一共有{a}个。",
)  # fmt: skip
# `{a}` is Yes or No, `{l}` the same in lower case, `{w}` and `{v}` the other.
YES_NO = (
    "{a}", "{a}.", "**{a}**", "{l}", "\\boxed{{{a}}}", "\\boxed{{\\text{{{a}}}}}", "<answer>{a}</answer>",
    "{a}, it looks like that.", "{a}. Some would say {v}.", "Answer: {a}", "The answer is {a}.",
    "The answer is {l}.", "**Answer:** {a}", "Final answer: {l}", "So the answer is: {a}",
    "Is the left line longer? Yes or no? {a}.", "Is it longer, yes or no? The answer is {l}.",
    "<think>It could be {v}.</think>{a}", "Looking closely at both lines.\n\n{a}", "Therefore, {l}.",
    "Thus, the answer is {l}.",
)  # fmt: skip
