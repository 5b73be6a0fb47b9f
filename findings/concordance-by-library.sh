#!/usr/bin/env bash
# audmetric 1.4.2 and torchmetrics 1.9.0: the concordance correlation coefficient of the same numbers differs, since one
# divides the variances by n and the other by n - 1; and predictions that are all the same have 0.0 in one and nan in the
# other. Papers on arousal and valence rarely say whose they print.
# Seen: [1 2 3 4] against [1 2 3 5]: 0.9286 and 0.9327; [1 2 3] against [2 2 2]: 0.0 and nan; [2 2 2] against itself: nan, nan.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q audmetric==1.4.2 torchmetrics==1.9.0 torch==2.13.0 numpy==2.4.6
env/bin/python - <<'PYTHON'
from math import isnan

import torch
from audmetric import concordance_cc
from torchmetrics.functional import concordance_corrcoef

def both(truth, prediction):
    by_torchmetrics = concordance_corrcoef(torch.tensor(prediction), torch.tensor(truth))
    found = round(concordance_cc(truth, prediction), 4), round(float(by_torchmetrics), 4)
    print(truth, prediction, "audmetric %s, torchmetrics %s" % found)
    return found

assert both([1.0, 2, 3, 4], [1.0, 2, 3, 5]) == (0.9286, 0.9327)
zero, nothing = both([1.0, 2, 3], [2.0, 2, 2])
assert zero == 0 and isnan(nothing)
assert all(map(isnan, both([2.0, 2, 2], [2.0, 2, 2])))
PYTHON
