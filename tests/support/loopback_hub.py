"""A Hub on the loopback address: what `huggingface_hub` asks of one to push a model and to load it."""

import base64
import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

TOKENS = {"hf_writer": "someone", "hf_reader": "reader"}


@dataclass
class Repository:
    """Commits by id, each a whole tree: path -> content; branches by name, each a list of commit ids, newest last."""

    private: bool
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, list[str]] = field(default_factory=dict)

    def commit(self, branch: str, tree: dict[str, bytes]) -> str:
        sha = hashlib.sha1(f"{branch} {len(self.commits)} {sorted(tree)}".encode()).hexdigest()
        self.commits[sha] = tree
        self.branches.setdefault(branch, []).append(sha)
        return sha

    def find(self, revision: str) -> str | None:
        """The commit of a branch, or a commit's own id."""
        return self.branches[revision][-1] if revision in self.branches else self.commits.get(revision) and revision

    def tree(self, revision: str = "main") -> dict[str, bytes]:
        return self.commits[self.find(revision)]


class LoopbackHub(ThreadingHTTPServer):
    """The server and all that it holds.

    Attributes:
        repositories: by `owner/name`, and by `spaces/owner/name`.
        requests: `METHOD path` of all that was asked.
        cut: drop the connection at every request whose path contains this.
        lasts: drop the connection at every request after so many; None for none.
        unanswered: carry out every request whose path contains this, and drop the connection before the answer.
        status: answer every request with this instead.
        before_commit: called when a commit has arrived.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        self.repositories: dict[str, Repository] = {}
        self.large_files: dict[str, bytes] = {}
        self.committing = threading.Lock()  # of two commits with one parent the second is refused
        self.calm()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def calm(self) -> None:
        """Ends all harm, and forgets what was asked."""
        self.cut, self.unanswered, self.status, self.requests = "", "", 0, []
        self.lasts: int | None = None
        self.before_commit: Callable[[], object] = lambda: None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A cut connection is meant."""

    def __enter__(self) -> "LoopbackHub":
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class Refusal(Exception):
    """An answer other than 200: the status, and the Hub's headers for it."""

    def __init__(self, status: int, message: str, code: str = ""):
        super().__init__(message)
        self.status, self.headers = status, {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LoopbackHub

    def log_message(self, *_: object) -> None:
        """Quietly."""

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def _answer(self) -> None:
        hub, path = self.server, unquote(urlsplit(self.path).path).strip("/")
        hub.requests.append(f"{self.command} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if (hub.cut and hub.cut in path) or (hub.lasts is not None and len(hub.requests) > hub.lasts):
            return self._drop()
        try:
            if hub.status:
                raise Refusal(hub.status, "Not now")
            answer = self._find(path.split("/"), body)
            if hub.unanswered and hub.unanswered in path:
                return self._drop()
            self._send(200, *answer)
        except Refusal as refusal:
            self._send(refusal.status, json.dumps({"error": str(refusal)}).encode(), refusal.headers)

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.close()

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _find(self, parts: list[str], body: bytes) -> tuple[bytes, dict[str, str]]:
        match parts:
            case ["api", "whoami-v2"]:
                answer = {"type": "user", "name": self._user(), "orgs": []}
            case ["api", "validate-yaml"]:
                answer = validate_card(json.loads(body)["content"])
            case ["api", "repos", "create"]:
                answer = self._create(json.loads(body))
            case ["api", "models", owner, name, *rest]:
                answer = self._api(f"{owner}/{name}", rest, body)
            case ["api", "spaces", owner, name, *rest]:
                answer = self._api(f"spaces/{owner}/{name}", rest, body)
            case [_, _, "info", "lfs", "objects", "batch"]:
                self._may_write()
                answer = {"objects": [self._large_file(entry) for entry in json.loads(body)["objects"]]}
            case ["large-files", oid]:
                assert hashlib.sha256(body).hexdigest() == oid
                self.server.large_files[oid] = body
                answer = {}
            case [owner, name, "resolve", revision, *path]:
                return self._file(f"{owner}/{name}", revision, "/".join(path))
            case _:
                raise Refusal(404, f"the loopback hub does not know {self.command} {'/'.join(parts)}")
        return json.dumps(answer).encode(), {}

    def _api(self, name: str, rest: list[str], body: bytes) -> Any:
        repository = self._repository(name)
        match rest:
            case [] | ["revision", _]:
                return describe(name, repository, self._revision(repository, rest[1] if rest else "main"))
            case ["tree", revision, *folder]:
                return listing(repository.commits[self._revision(repository, revision)], "/".join(folder))
            case ["branch", branch]:
                self._may_write()
                start = json.loads(body or b"{}").get("startingPoint") or "main"
                repository.branches[branch] = list(repository.branches[start])
                return {}
            case ["preupload", revision]:
                self._may_write()
                self._revision(repository, revision)
                return {"files": [upload_mode(file["path"]) for file in json.loads(body)["files"]]}
            case ["commit", revision]:
                self._may_write()
                return self._commit(name, repository, revision, body)
        raise Refusal(404, f"the loopback hub does not know {rest}")

    def _create(self, wanted: dict[str, Any]) -> dict[str, str]:
        self._may_write()
        owner = wanted.get("organization") or self._user()
        if owner != self._user():
            raise Refusal(403, f"You don't have the rights to create a repository under the namespace of {owner}")
        is_space = wanted.get("type") == "space"
        name = f"{'spaces/' if is_space else ''}{owner}/{wanted['name']}"
        if name in self.server.repositories:
            raise Refusal(409, "You already created this repo")
        private = wanted.get("private") or wanted.get("visibility") == "private"
        self.server.repositories[name] = repository = Repository(bool(private))
        readme = {"README.md": f"---\nsdk: {wanted['sdk']}\n---\n".encode()} if is_space else {}
        repository.commit("main", {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n", **readme})
        return {"url": f"{self.server.url}/{name}", "name": name}

    def _commit(self, name: str, repository: Repository, branch: str, body: bytes) -> dict[str, str]:
        self.server.before_commit()
        with self.server.committing:
            return self._commit_on_top(name, repository, branch, body)

    def _commit_on_top(self, name: str, repository: Repository, branch: str, body: bytes) -> dict[str, str]:
        parent = self._revision(repository, branch)
        tree = dict(repository.commits[parent])
        for line in body.decode().splitlines():
            entry = json.loads(line)
            match entry["key"], entry["value"]:
                case "header", value:
                    if value.get("parentCommit") not in (None, parent):
                        raise Refusal(412, "A commit has happened since. Please refresh and try again.")
                case "file", value:
                    tree[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile", value:
                    tree[value["path"]] = self.server.large_files[value["oid"]]
                case "deletedFile", value:
                    del tree[value["path"]]
        sha = repository.commit(branch, tree)
        return {"commitUrl": f"{self.server.url}/{name}/commit/{sha}", "commitOid": sha}

    def _large_file(self, entry: dict[str, Any]) -> dict[str, Any]:
        if entry["oid"] in self.server.large_files:
            return entry
        return entry | {"actions": {"upload": {"href": f"{self.server.url}/large-files/{entry['oid']}"}}}

    def _file(self, name: str, revision: str, path: str) -> tuple[bytes, dict[str, str]]:
        repository = self._repository(name)
        sha = self._revision(repository, revision)
        if repository.gated:
            raise Refusal(403, f"Access to model {name} is restricted", "GatedRepo")
        if path not in repository.commits[sha]:
            raise Refusal(404, "Entry not found", "EntryNotFound")
        content = repository.commits[sha][path]
        etag = hashlib.sha256(content).hexdigest()
        return content, {"ETag": f'"{etag}"', "X-Repo-Commit": sha, "Content-Type": "application/octet-stream"}

    def _repository(self, name: str) -> Repository:
        repository = self.server.repositories.get(name)
        if repository is None or (repository.private and self._user(required=False) is None):
            raise Refusal(404, "Repository not found", "RepoNotFound")
        return repository

    def _revision(self, repository: Repository, revision: str) -> str:
        sha = repository.find(revision)
        if sha is None:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return sha

    def _user(self, required: bool = True) -> str | None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if required and token not in TOKENS:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return TOKENS.get(token)

    def _may_write(self) -> None:
        if self._user() == "reader":
            raise Refusal(403, "Forbidden: you must use a write token to upload to a repository")


def upload_mode(path: str) -> dict[str, Any]:
    return {
        "path": path,
        "uploadMode": "lfs" if path.endswith((".safetensors", ".onnx")) else "regular",
        "shouldIgnore": False,
    }


def validate_card(content: str) -> dict[str, list]:
    """The Hub's own check is not public; here the metadata must be YAML, and each result whole."""
    data = yaml.safe_load(content.split("---")[1])
    results = [result for model in data.get("model-index", []) for result in model["results"]]
    whole = all(
        result["task"]["type"] and result["dataset"]["type"] and result["dataset"]["name"] and result["metrics"]
        for result in results
    )
    return {"errors": [] if whole else [{"message": "model-index is not whole"}], "warnings": []}


def describe(name: str, repository: Repository, sha: str) -> dict[str, Any]:
    siblings = [{"rfilename": path} for path in repository.commits[sha]]
    name = name.removeprefix("spaces/")
    return {"_id": name, "id": name, "sha": sha, "private": repository.private, "tags": [], "siblings": siblings}


def listing(tree: dict[str, bytes], folder: str) -> list[dict[str, Any]]:
    inside = {path: content for path, content in tree.items() if path.startswith(folder)}
    return [
        {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
        for path, content in inside.items()
    ]
