#!/usr/bin/env bash
# transformers 5.23.0: what younger speech encoders return differs from what wav2vec2's does, so that code which joins or
# pools hidden states by the old ones' rules is wrong. Qwen2-Audio's encoder pools its last state two to one, the others have
# twice its frames. Fun-ASR-Nano's first state has the width of its features, not of the model. Moonshine has a group norm
# over all channels and all time, so that with a correct attention mask every frame of a recording depends on the padding
# behind it; Parakeet's encoder hides it.
# Seen: Qwen2-Audio 1500 frames a state and 750 in last_hidden_state; Fun-ASR-Nano 560 and then 32 wide; one second alone and
# beside one of a second and a half, largest difference of a hidden state (of about 0.8): Moonshine 0.5 in all 40 frames,
# Parakeet below 1e-5.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q torch==2.13.0 transformers==5.23.0 numpy==2.4.6
env/bin/python - <<'PYTHON'
import torch
from transformers import AutoConfig, AutoModel
from transformers.models.moonshine.modeling_moonshine import MoonshineEncoder

layers = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64)
torch.manual_seed(0)

whisper = dict(d_model=32, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=64)
model = AutoModel.from_config(AutoConfig.for_model("qwen2_audio_encoder", **whisper)).eval()
with torch.no_grad():
    output = model(torch.randn(1, 128, 3000), output_hidden_states=True)
frames = [state.shape[1] for state in output.hidden_states[:-1]], output.last_hidden_state.shape[1]
print("qwen2_audio_encoder: frames of the states, and of the last one:", *frames)
assert frames == ([1500, 1500], 750)

model = AutoModel.from_config(AutoConfig.for_model("fun_asr_nano_encoder", **layers, num_timestamp_prediction_layers=1))
mask = torch.ones(1, 20, dtype=torch.long)
with torch.no_grad():
    output = model.eval()(torch.randn(1, 20, 560), input_features_mask=mask, output_hidden_states=True)
widths = [state.shape[2] for state in output.hidden_states]
print("fun_asr_nano_encoder: widths of the states:", widths)
assert widths == [560, 32, 32]


def apart(model, inputs, true):
    """By frame, how far a recording's last states are alone from those beside a longer one."""
    inputs[0, true:] = 0
    mask = torch.ones(inputs.shape[:2], dtype=torch.long)
    mask[0, true:] = 0
    with torch.no_grad():
        alone = model(inputs[:1, :true], attention_mask=mask[:1, :true]).last_hidden_state[0]
        beside = model(inputs, attention_mask=mask).last_hidden_state[0, : len(alone)]
    return (alone - beside).abs().amax(dim=1)


counts = dict(encoder_num_hidden_layers=2, encoder_num_attention_heads=4, decoder_num_hidden_layers=1)
moonshine = AutoConfig.for_model("moonshine", **counts, hidden_size=32, intermediate_size=64, decoder_num_attention_heads=4)
parakeet = AutoConfig.for_model("parakeet_encoder", **layers, subsampling_conv_channels=8)
found = {
    "moonshine": apart(MoonshineEncoder(moonshine).eval(), 0.1 * torch.randn(2, 24000), 16000),
    "parakeet_encoder": apart(AutoModel.from_config(parakeet).eval(), torch.randn(2, 150, 80), 100),
}
for family, frames in found.items():
    print(f"{family}: largest difference {frames.max():.1e}, in {int((frames > 1e-3).sum())} of {len(frames)} frames")
assert found["moonshine"].min() > 1e-3 and found["parakeet_encoder"].max() < 1e-4
PYTHON
