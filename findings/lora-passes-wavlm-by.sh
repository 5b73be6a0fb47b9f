#!/usr/bin/env bash
# peft 0.21.2 with transformers 5.23.0: LoRA on the attention of WavLM learns nothing, in silence. WavLM hands the weights of
# its projections to a function and never calls the modules, so that the wrapped ones have no part in the output; when
# the adapter is merged, the output changes all the same. On HuBERT the same targets learn.
# Seen, with an adapter of random weights: hubert's output has a gradient, moves, and stays when the adapter is merged;
# wavlm's has none, does not move, and changes when it is merged.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q torch==2.13.0 transformers==5.23.0 peft==0.21.2 numpy==2.4.6
env/bin/python - <<'PYTHON'
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModel

small = dict(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, conv_dim=(16, 16, 16),
    conv_kernel=(10, 8, 8), conv_stride=(5, 8, 8), num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
)
sound = 0.1 * torch.randn(1, 16000)
seen = {}
for family in ("hubert", "wavlm"):
    torch.manual_seed(0)
    model = AutoModel.from_config(AutoConfig.for_model(family, **small)).eval()
    with torch.no_grad():
        before = model(sound).last_hidden_state
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "v_proj"])).eval()
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    after = adapted(sound).last_hidden_state
    learns = after.requires_grad  # all else is frozen
    moved = not torch.allclose(before, after, atol=1e-5)
    with torch.no_grad():
        merged = adapted.merge_and_unload()(sound).last_hidden_state
    seen[family] = learns, moved, not torch.allclose(after, merged, atol=1e-4)
    print(f"{family}: learns %s, moves the output %s, merging changes the output %s" % seen[family])
assert seen == {"hubert": (True, True, False), "wavlm": (False, False, True)}
PYTHON
