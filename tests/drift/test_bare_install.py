"""The method loads torch, transformers, safetensors and what these bring along, configs none of them.

test_examples runs the method where nothing else is installed.
"""

import subprocess
import sys

import pytest

# What training, evaluation, pipelines and the tests install beside them.
EXTRAS = (
    "accelerate", "datasets", "deepspeed", "hydra", "matplotlib", "omegaconf", "pandas", "peft", "PIL", "pydantic",
    "scipy", "sklearn", "statsmodels", "tabulate", "trl", "wandb",
)  # fmt: skip
PUBLIC = (
    "import drift; from drift import ReasoningPrior, GradientInjector, RunObserver, effective_weight\n"
    "from drift.merging import merge_checkpoints; from drift.geometry import layer_geometry\n"
)


def run(code: str) -> str:
    """What the code prints in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_method_loads_no_extra_but_what_transformers_takes_by_itself():
    own = {"accelerate", "scipy", "PIL"}  # transformers 5.23 imports them where it finds them
    code = f"import sys\n{PUBLIC}print(*(set({EXTRAS!r}) - {own!r}) & set(sys.modules))"
    assert run(code) == ""


@pytest.mark.parametrize("module", ["drift", "drift.merging.config", "drift.training.config", "drift.choices"])
def test_what_a_planner_imports_loads_no_torch(module):
    assert run(f"import sys, {module}; print('torch' in sys.modules)") == "False"
