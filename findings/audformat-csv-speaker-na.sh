#!/usr/bin/env bash
# audformat 1.4.3: what a database says depends on how it was stored. From CSV a speaker NA becomes a missing value, and so
# does the label NA that its own scheme lists; from Parquet, the default, both stay. None, which pandas alone would read as
# missing too, stays in both.
# Seen: csv [<NA>, '01', 'None'] and [nan]; parquet ['NA', '01', 'None'] and ['NA'].
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q audformat==1.4.3 numpy==2.4.6
env/bin/python - <<'PYTHON'
import audformat
import pandas

database = audformat.Database("calls")
database.schemes["speaker"] = audformat.Scheme("str")
database.schemes["emotion"] = audformat.Scheme(labels=["happy", "NA"])
index = audformat.segmented_index(["a.wav"] * 3, ["0s", "1s", "2s"], ["1s", "2s", "3s"])
database["turns"] = audformat.Table(index)
for name, values in {"speaker": ["NA", "01", "None"], "emotion": ["happy", "NA", "happy"]}.items():
    database["turns"][name] = audformat.Column(scheme_id=name)
    database["turns"][name].set(values)
for kind in ("csv", "parquet"):
    database.save(kind, storage_format=kind)
    read = audformat.Database.load(kind)["turns"].df
    missing = read.isna().sum().to_dict()
    print(kind, read["speaker"].tolist(), read["emotion"].tolist())
    assert missing == dict.fromkeys(("speaker", "emotion"), int(kind == "csv")), missing
PYTHON
