import subprocess
import sys


def test_a_model_of_ours_loads_without_a_question(finished_run):
    # Transformers asks on standard input before it runs a folder's code, unless it knows the model already
    program = f"from ser_meta.training.runs.loading import load_model; load_model({str(finished_run / 'model')!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr[-1_000:]
    assert "custom code" not in done.stdout + done.stderr
