#!/usr/bin/env bash
# huggingface_hub 2.4.0 (and 0.36.0): hf_hub_download writes the commit of a branch into the cache before it fetches the file.
# A download that breaks off leaves the branch at a commit without files: offline, the whole copy of before is no more found
# under the branch's name. And snapshot_download takes the cached copy without a word where the Hub refuses (403, gated).
# Seen: after a broken download LocalEntryNotFoundError offline, though the first commit's file is there; the refused one is given.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q huggingface_hub==2.4.0
cat > show.py <<'PYTHON'
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMITS = {"first": "1" * 40, "second": "2" * 40}
state = {"commit": "first", "cut": False, "refuse": False}


class Hub(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_HEAD(self):
        if state["cut"] and self.command == "GET":
            self.connection.close()
            return
        content, commit = state["commit"].encode(), COMMITS[state["commit"]]
        self.send_response(403 if state["refuse"] else 200)
        for name, value in {"ETag": f'"{commit}"', "X-Repo-Commit": commit, "Content-Length": len(content)}.items():
            self.send_header(name, str(value))
        if state["refuse"]:
            self.send_header("X-Error-Code", "GatedRepo")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_GET = do_HEAD


server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
server.handle_error = lambda *_: None
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ |= {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": os.path.abspath("home")}
import time

time.sleep = lambda seconds: None
from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

file = "someone/model", "config.json"
first = hf_hub_download(*file)
print("the branch is fetched:", open(first).read())
state["refuse"] = True
refused = snapshot_download("someone/model")
print("refused with 403, snapshot_download gives the commit", os.path.basename(refused))
assert os.path.basename(refused) == COMMITS["first"]
state.update(refuse=False, commit="second", cut=True)
try:
    hf_hub_download(*file)
except Exception as error:
    print("the next download breaks off:", type(error).__name__)
try:
    hf_hub_download(*file, local_files_only=True)
    sys.exit("offline the first copy is still found under the branch's name")
except LocalEntryNotFoundError as error:
    print("offline, under the branch's name:", type(error).__name__)
assert os.path.isfile(first)
print("the first copy is whole, at", os.path.relpath(first, os.environ["HF_HOME"]))
PYTHON
env/bin/python show.py
env/bin/pip install -q huggingface_hub==0.36.0
rm -rf home
env/bin/python show.py
