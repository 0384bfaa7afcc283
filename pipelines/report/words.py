"""What a report says in words whatever its numbers are: what each profile is, how numbers are read, objections."""

OPENINGS = {
    "lab": (
        "**This is a small world, not the paper's models.** Every number here was measured on language models of about "
        "118 thousand parameters, trained from scratch by this pipeline on two CPU cores, that read handwritten digits "
        "and reason over them; the benchmarks are stand-ins written by the pipeline. What may be concluded: whether "
        "the code does what the paper describes, and how the methods compare *in worlds like these*. "
        "What may not: anything about Qwen2.5-VL-7B, or about the size of an effect on the real benchmarks. Values in "
        "[brackets] are the paper's, printed for orientation; ours and theirs share no scale."
    ),
    "smoke": (
        "**This is a smoke test, not a result.** Its world is cut to a size at which nothing is learnt; the numbers "
        "show that every stage runs and nothing else. They must not be quoted. Values in [brackets] are the paper's."
    ),
    "paper": (
        "Measured at the paper's scale with the checkpoints and settings named in provenance.json, over {seeds} "
        "seed(s). Values in [brackets] are the paper's (arXiv 2510.15050)."
    ),
    "small": (
        "Measured with the smallest published pair, Qwen2-VL-2B-Instruct and Qwen2-Math-1.5B-Instruct, one epoch and "
        "{seeds} seed(s) on one GPU. The paper has no numbers for it, and nothing here is told apart by training seeds."
    ),
    "published": (
        "No model was run. Answers that others published, item by item with their own verdicts, were scored by this "
        "project's rules and held against those verdicts: how far the scorer of every other report can be trusted. "
        "Values in [brackets] are the publishers', in Table 1 the paper's (arXiv 2510.15050)."
    ),
}
MARKS = (
    "Scores are percent, mean ± standard deviation; intervals are 95%; tables describe, only the findings are tested; "
    "[brackets] are the paper's. [The page](index.html) goes from each cell to its runs and items, "
    "[the appendix](appendix.md) says how numbers are read, what was chosen and what the checkpoints are."
)
STAND_INS = (
    "The columns are the lab's own suites. Each is a stand-in: the number in brackets is the paper's on the benchmark "
    "that it stands for, on another scale, and whether the two agree says nothing."
)
OBJECTIONS = {
    "lab": (
        "Scale. Their model has seven billion parameters and was trained on the world's images; these have 118 "
        "thousand and read digits. In what direction a reasoning expert lies, and how much of it a step can use, "
        "may differ.",
        "The step. They train with a learning rate of 1e-6, where a run moves a small part of the way to the "
        "expert; here it is 1e-3, and DRIFT with the alpha that validation chose goes most of the way (w_eff, in "
        "each cell's runs). Their alpha of -1 overshoots here: it stands as a row of its own.",
        "The budget. 300 steps do not train plain fine-tuning to its end, so a gain over it may be speed, not "
        "ability (the study's main arms get 600 and 1,200). They train on 4,000 examples for three epochs.",
        "The baseline. Merging first, as far as DRIFT went, and then fine-tuning is not in the paper, and it "
        "takes its distance from a DRIFT run. At their scale merges of distant experts harm the model (their "
        "Table 2); here a small one does little.",
        "Perception. The expert here was trained on chains of thought alone, so what moves toward it reasons "
        "where only reading was asked, or gives a digit where a sign was: part of Table 6's loss is answers in "
        "another form (below it stands how many end a chain). Their perception sets are real.",
        "The benchmarks are stand-ins of a hundred items a world (500 in the study's), scored by a rule; theirs are "
        "public, with a judge that they do not name.",
    ),
}
READING = (
    "Scores are percent: mean ± sample standard deviation over what was made more than once. Intervals are 95%, "
    "each for itself: the only family of tests are the findings. {varies} Counts, intervals and fingerprints "
    "of every number are in `tables/*_long.csv` and `provenance.json`, the values that it is the mean of in "
    "`tables/*_values.csv`, the tests in `tables/*_differences.csv`."
)
VARIES = {
    "worlds": (
        "Each seed is a world of its own, with other models and other items. Intervals are Student's t over worlds (a "
        "score's is taken for its log odds, so that it stays between 0 and 100), and differences are paired by world."
    ),
    "runs": (
        "Rows made several times answered the same items: their intervals cover runs and questions at once (crossed "
        "random effects). Differences are paired by run and by item."
    ),
    "questions": (
        "What was made once, whatever the seeds, is one sample: its intervals cover the questions alone, versions of "
        "one question together; differences are paired by item, with McNemar's exact test where each question is one "
        "item. They say nothing about another training."
    ),
}
SPLIT = (
    "Published benchmarks are parted by question (`conf/splits`): choices were made on one part, and numbers are of "
    "the other, or of all items where nothing was chosen. (at most ...) is the score if every answer that no rule "
    "reads were right, where no judge was asked."
)
ALL = (
    "On all items, which the paper's are of. † marks rows whose hyper-parameter was chosen on some of these items: no "
    "held-out score."
)
BIAS = (
    "What the rules make of each difference beyond the judge, with its interval. ‡ above marks a difference no larger "
    "than that: unresolved by the scorer."
)
GRANULARITY = (
    "A share of n items is a multiple of 1/n: how many of the published values can be one, rounded or cut, for counts "
    "that all of a column would fit by chance less than once in twenty times. Each value stands in "
    "`tables/*_granularity.csv`. Table 1's MathVision column is of MathVision_MINI, which is what its rows run on."
)
RUNS = (
    "w_eff is <theta_T - theta_0, Delta> / ||Delta||²: how far a run lies from the MLLM along its own prior (0 not at "
    "all, 1 as far as the expert; for the controls, along the random or the reversed direction). A run that merged "
    "first has the merge's share in it. `covered` counts the parameters that the prior was attached to, of those "
    "selected. `transcription` is the share of answers that copy the digits right before reasoning, `closed` the share "
    "that end their reasoning."
)
