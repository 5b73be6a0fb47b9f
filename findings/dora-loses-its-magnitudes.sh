#!/usr/bin/env bash
# transformers 5.23.0 with peft 0.21.2: a DoRA that peft has saved loses its magnitudes where Transformers loads it, by
# `AutoModel.from_pretrained` or `load_adapter`: they are saved as `...lora_magnitude_vector`, looked for as
# `...lora_magnitude_vector.default.weight`, and start anew. There is no error, only a table in the log. The model gives something
# else than was trained. `PeftModel.from_pretrained` loads them.
# Seen: peft's own loading gives what was saved; Transformers' differs from it, with the magnitudes of the untrained model.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q torch==2.13.0 transformers==5.23.0 peft==0.21.2 numpy==2.4.6
env/bin/python - <<'PYTHON'
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModel, HubertConfig, HubertModel

small = dict(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, conv_dim=(16, 16, 16),
    conv_kernel=(10, 8, 8), conv_stride=(5, 8, 8), num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
)
sound = 0.1 * torch.randn(1, 16000)
HubertModel(HubertConfig(**small)).save_pretrained("base")
adapted = get_peft_model(
    AutoModel.from_pretrained("base"), LoraConfig(target_modules=["q_proj", "v_proj"], use_dora=True)
)
with torch.no_grad():
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            weight.normal_()
        if "magnitude" in name:
            weight.mul_(3)
    adapted.save_pretrained("adapter")
    expected = adapted.eval()(sound).last_hidden_state
    by_peft = PeftModel.from_pretrained(AutoModel.from_pretrained("base"), "adapter").eval()
    by_transformers = AutoModel.from_pretrained("adapter").eval()
    differences = [(model(sound).last_hidden_state - expected).abs().max().item() for model in (by_peft, by_transformers)]
print("greatest difference to what was saved: loaded by peft %.2g, by Transformers %.2g" % tuple(differences))
assert differences[0] < 1e-5 < 1e-2 < differences[1]
PYTHON
