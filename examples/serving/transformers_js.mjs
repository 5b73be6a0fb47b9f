// Recognises the emotion of a recording in Node, or in a browser, with a model that was pushed with --onnx.
//
//   npm install @huggingface/transformers
//   node transformers_js.mjs someone/ravdess-emotions recording.f32 [q8]
//
// recording.f32 holds 32-bit floats from -1 to 1 at 16 kHz, one channel: in a browser, what an AudioContext of 16 kHz
// decodes, and from any file, what `ffmpeg -i recording.wav -ac 1 -ar 16000 -f f32le recording.f32` writes.
import { readFileSync } from 'node:fs';
import { AutoModel, AutoProcessor, Tensor, env, softmax } from '@huggingface/transformers';

const [repository, recording, dtype = 'fp32'] = process.argv.slice(2);
if (process.env.HF_ENDPOINT) env.remoteHost = process.env.HF_ENDPOINT; // another Hub than huggingface.co
const samples = new Float32Array(new Uint8Array(readFileSync(recording)).buffer);

const processor = await AutoProcessor.from_pretrained(repository);
const model = await AutoModel.from_pretrained(repository, { dtype });
const inputs = await processor(samples);
if (inputs.input_features?.dims[1] === processor.feature_extractor.config.feature_size) {
    // Whisper's features are padded to 30 s: the mask says how many of their frames are the recording's
    const frames = Math.ceil(samples.length / processor.feature_extractor.config.hop_length);
    const mask = BigInt64Array.from({ length: inputs.input_features.dims[2] }, (_, frame) => (frame < frames ? 1n : 0n));
    inputs.attention_mask = new Tensor('int64', mask, [1, mask.length]);
}
const { logits } = await model(inputs);
const several = model.config.problem_type === 'multi_label_classification';
const values = Array.from(logits.data);
const scores = several ? values.map((logit) => 1 / (1 + Math.exp(-logit))) : softmax(values);
console.log(JSON.stringify(Object.fromEntries(scores.map((score, id) => [model.config.id2label[id], score]))));
