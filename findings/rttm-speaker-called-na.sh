#!/usr/bin/env bash
# pyannote.database 6.1.1: a speaker called NA or null in an RTTM file is read back as no speaker: load_rttm reads it as a
# table, and these words as missing values. Speakers called 01 stay text.
# Seen: NA and null become nan, 01 stays '01'.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q pyannote.database==6.1.1 numpy==2.4.6
env/bin/python - <<'PYTHON'
from pyannote.database.util import load_rttm

with open("call.rttm", "w") as file:
    for start, speaker in enumerate(("NA", "01", "null")):
        file.write(f"SPEAKER call 1 {start}.000 1.000 <NA> <NA> {speaker} <NA> <NA>\n")
turns = load_rttm("call.rttm")["call"]
read = [label for _, _, label in turns.itertracks(yield_label=True)]
print(read)
assert read[1] == "01" and all(isinstance(label, float) for label in (read[0], read[2]))
PYTHON
