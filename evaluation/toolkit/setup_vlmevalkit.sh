#!/bin/sh
# Install VLMEvalKit into its own environment: setup_vlmevalkit.sh SOURCE [VENV]
#   SOURCE  a git URL, or the path of a local clone; VENV defaults to .venv-vlmevalkit.
# Own environment: it pins antlr4 4.11.1 and needs pandas below 3 (We-Math uses DataFrame._append). PYTHON, default
# python3, makes the environment. torch and transformers are those of this project where it is installed, since our
# model code runs there too. rouge-score is missing from its requirements.
set -eu
SOURCE="${1:?usage: setup_vlmevalkit.sh SOURCE [VENV], SOURCE is a git URL or a local clone}"
VENV="${2:-.venv-vlmevalkit}"
PYTHON="${PYTHON:-python3}"
HERE="$(cd "$(dirname "$0")" && pwd)"
version() { "$PYTHON" -c "import importlib.metadata as m; print('$1==' + m.version('$1').split('+')[0])" 2>/dev/null || echo "$1"; }

[ -d "$VENV" ] || "$PYTHON" -m venv "$VENV"
[ -d "$VENV/VLMEvalKit" ] || git clone --quiet "$SOURCE" "$VENV/VLMEvalKit"
PIP="$VENV/bin/python -m pip install --quiet"
# torch first: a torchvision that is resolved alone may bring another torch.
$PIP "$(version torch)" torchvision "$(version transformers)" "pandas<3" rouge-score
$PIP "$(version torch)" "pandas<3" -r "$VENV/VLMEvalKit/requirements.txt"
$PIP --no-deps --editable "$VENV/VLMEvalKit"
"$VENV/bin/python" "$HERE/vlmevalkit_runner.py"
echo "VLMEvalKit $(git -C "$VENV/VLMEvalKit" rev-parse HEAD) is ready in $VENV"
