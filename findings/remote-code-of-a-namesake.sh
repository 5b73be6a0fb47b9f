#!/usr/bin/env bash
# transformers 5.23.0: in one process, a second local model whose folder has the same last name is built with the code of the
# first, when both have the same configuration class. Runs that leave their models as run-1/model and run-2/model, with
# modelling code of two versions, give one version for both, in silence; in a new process each gets its own.
# Seen: run-1/model is built as version 1, run-2/model as version 1 too, while its own file says 2.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q torch==2.13.0 transformers==5.23.0 numpy==2.4.6
env/bin/python - <<'PYTHON'
import json
import os
from pathlib import Path

os.environ |= {"HF_HOME": os.path.abspath("home"), "HF_HUB_OFFLINE": "1"}
from transformers import AutoConfig, AutoModel

CONFIGURATION = """
from transformers import PretrainedConfig


class ToyConfig(PretrainedConfig):
    model_type = "toy"
"""
MODELING = """
import torch
from transformers import PreTrainedModel

from .configuration_toy import ToyConfig


class ToyModel(PreTrainedModel):
    config_class = ToyConfig
    version = {version}

    def __init__(self, config):
        super().__init__(config)
        self.layer = torch.nn.Linear(1, 1)
        self.post_init()
"""
built = []
for version in (1, 2):
    folder = Path(f"run-{version}", "model")
    folder.mkdir(parents=True)
    (folder / "configuration_toy.py").write_text(CONFIGURATION)
    (folder / "modeling_toy.py").write_text(MODELING.format(version=version))
    auto_map = {"AutoConfig": "configuration_toy.ToyConfig", "AutoModel": "modeling_toy.ToyModel"}
    (folder / "config.json").write_text(json.dumps({"model_type": "toy", "auto_map": auto_map}))
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    built.append(AutoModel.from_config(config, trust_remote_code=True).version)
    print(folder, "is built as version", built[-1])
assert built == [1, 1]
PYTHON
