#!/bin/bash
# measure.sh OUTDIR part...
cd /work/wt/suite; out=$1; shift; mkdir -p $out
export OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false PYTHONPATH=$PWD:/tmp/cpuplug
for part in "$@"; do
  case $part in
    pipelines-*) n=${part#pipelines-}; files=$(ls tests/pipelines/test_*.py | awk -v n=$n 'NR%2==n');;
    drift-*) n=${part#drift-}; files=$(find tests/drift -name 'test_*.py' | sort | awk -v n=$n 'NR%2==n');;
    *) files=tests/$part;;
  esac
  export CPUPLUG_OUT=$out/$part.jsonl; rm -f $CPUPLUG_OUT
  flock /tmp/heavy.lock /usr/bin/time -f "CPU user %U sys %S wall %e" -o $out/$part.time .venv/bin/python -m pytest -q --durations=0 --durations-min=0.3 -p no:cacheprovider -p cpuplug $files > $out/$part.log 2>&1
  tail -1 $out/$part.time
done
echo done > $out/DONE
