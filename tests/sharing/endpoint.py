"""A Hub of a few repositories on this machine, as huggingface_hub asks one over HTTP."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_this_machine"


class Hub:
    """What the server has: the commits of each repository, oldest first, each its files."""

    def __init__(self):
        self.commits = {}
        self.requests = []
        self.url = ""

    def commit(self, repo, files):
        """Add a commit; return its hash."""
        self.commits.setdefault(repo, []).append(dict(files))
        return self.hash(repo)

    def hash(self, repo, number=-1):
        number %= len(self.commits[repo])
        return hashlib.sha1(f"{repo}{number}".encode()).hexdigest()

    def files(self, repo, revision):
        """Return the files of a commit, and its hash; `main` is the last one."""
        for number in reversed(range(len(self.commits[repo]))):
            if revision in ("main", self.hash(repo, number)):
                return self.commits[repo][number], self.hash(repo, number)
        return None, None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self._handle(None)

    def do_GET(self):
        self._handle(None)

    def do_POST(self):
        self._handle(self.rfile.read(int(self.headers["Content-Length"])))

    def _handle(self, body):
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        self.hub.requests.append((self.command, "/".join(parts), self.headers["Authorization"]))
        if parts[:2] == ["api", "models"] and len(parts) > 4:
            self._api("/".join(parts[2:4]), parts[4], "/".join(parts[5:]), body)
        elif parts == ["api", "validate-yaml"]:  # of a card
            self._json({"errors": [], "warnings": []})
        elif parts == ["api", "repos", "create"]:
            self._create(**json.loads(body))
        elif parts[2:3] == ["resolve"]:
            self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:  # who asks, and what for
            self._error(401, "Invalid username or password.")

    def _create(self, name, organization=None, **_):
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self._error(401, "Invalid username or password.")
        repo = f"{organization or 'someone'}/{name}"
        self.hub.commits.setdefault(repo, [])
        return self._json({"url": f"{self.hub.url}/{repo}"})

    def _api(self, repo, what, rest, body):
        if repo not in self.hub.commits:
            return self._error(404, "Repository not found", "RepoNotFound")
        if what == "preupload":
            known = [{"path": f["path"]} for f in json.loads(body)["files"]]
            return self._json(
                {"files": [{**f, "uploadMode": "regular", "shouldIgnore": False} for f in known]}
            )
        if what == "commit":
            lines = [json.loads(line) for line in body.splitlines()]
            added = [line["value"] for line in lines if line["key"] == "file"]
            files = {f["path"]: base64.b64decode(f["content"]) for f in added}
            before = self.hub.commits[repo][-1] if self.hub.commits[repo] else {}
            found = self.hub.commit(repo, {**before, **files})
            url = f"{self.hub.url}/{repo}/commit/{found}"
            return self._json({"success": True, "commitOid": found, "commitUrl": url})
        files, found = self.hub.files(repo, rest or "main")
        if files is None:
            return self._error(404, "Invalid rev id", "RevisionNotFound")
        if what == "tree":
            kinds = {"type": "file", "oid": found}
            return self._json([{**kinds, "path": n, "size": len(c)} for n, c in files.items()])
        siblings = [{"rfilename": name} for name in files]
        return self._json({"id": repo, "sha": found, "siblings": siblings})

    def _file(self, repo, revision, name):
        files, found = self.hub.files(repo, revision)
        if name not in files:
            return self._error(404, "Entry not found", "EntryNotFound")
        etag = hashlib.sha256(files[name]).hexdigest()
        return self._send(200, files[name], {"ETag": f'"{etag}"', "X-Repo-Commit": found})

    def _json(self, value):
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _error(self, status, message, code=None):
        body = json.dumps({"error": message}).encode()
        codes = {"X-Error-Code": code} if code else {}
        self._send(status, body, {"X-Error-Message": message, **codes})

    def _send(self, status, body, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def serving():
    """Give a hub that is served on loopback while the block lasts."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
