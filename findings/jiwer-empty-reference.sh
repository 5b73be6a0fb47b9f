#!/usr/bin/env bash
# jiwer 4.0.0: the error rate of an utterance without words in its reference is the number of recognised words, not a rate, and
# in a list such utterances add their errors to the others' words. A corpus in which some utterances are only a laugh or a
# sigh gets a rate that grows with what is recognised there.
# Seen: wer('', 'a b') 2; wer(['', 'x y'], ['a b', 'x y']) 1.0.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q jiwer==4.0.0
env/bin/python - <<'PYTHON'
import jiwer

alone = jiwer.wer("", "a b")
beside = jiwer.wer(["", "x y"], ["a b", "x y"])
print("alone", alone, "beside another", beside)
assert alone == 2 and beside == 1.0
PYTHON
