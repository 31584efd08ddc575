"""A server that speaks the Hub's protocol for a few files held in memory: listing, HEAD with X-Repo-Commit and
X-Linked-* headers, redirects of large files to another origin, ranges, access tokens, cut transfers."""
import hashlib
import http.server
import json
import threading
import urllib.parse

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def git_blob_id(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Repository:
    def __init__(self, files, large=(), revisions=("main",), token=None):
        self.files, self.large, self.revisions, self.token = dict(files), set(large), set(revisions), token

    def etag(self, name):
        data = self.files[name]
        return hashlib.sha256(data).hexdigest() if name in self.large else git_blob_id(data)


class FakeHub:
    """hub.url is the endpoint; large files are served from a second origin, as the Hub's storage is."""

    def __init__(self, repositories):
        self.repositories = repositories
        self.log = []               # (server, method, path, headers)
        self.cut_after = {}         # file name -> bytes after which the next transfer breaks off, once
        self.ignore_ranges = False
        self.corrupt = set()        # names whose bytes arrive changed
        self.rename = {}            # old repository name -> new: redirected with 307
        self.unsafe_names = []
        self.servers = []
        self.url, self.storage = self.start("hub"), self.start("storage")

    def start(self, kind):
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_HEAD(self):
                hub.answer(self, kind)

            def do_GET(self):
                hub.answer(self, kind)

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def reply(self, handler, status, headers=(), body=b"", length=None):
        handler.send_response(status)
        for name, value in headers:
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(body)

    def answer(self, handler, kind):
        path = urllib.parse.unquote(handler.path.split("?")[0])
        self.log.append((kind, handler.command, path, dict(handler.headers)))
        parts = path.strip("/").split("/")
        if kind == "storage":
            return self.send_file(handler, self.repositories[parts[0] + "/" + parts[1]], "/".join(parts[2:]))
        name = "/".join(parts[2:4]) if parts[0] == "api" else "/".join(parts[0:2])
        if name in self.rename:
            return self.reply(handler, 307, [("Location", handler.path.replace(name, self.rename[name]))])
        repository = self.repositories.get(name)
        if repository is None:
            return self.reply(handler, 401, [("X-Error-Message", "Repository not found")], b"no")
        if repository.token and handler.headers.get("Authorization") != "Bearer " + repository.token:
            return self.reply(handler, 401, [("X-Error-Message", "Access to this repository is restricted")], b"no")
        if parts[0] == "api" and parts[4] == "tree":  # huggingface_hub asks for it, hone does not
            entries = []
            for n, data in repository.files.items():
                entry = {"type": "file", "path": n, "size": len(data), "oid": git_blob_id(data)}
                if n in repository.large:
                    entry["lfs"] = {"oid": repository.etag(n), "size": len(data), "pointerSize": 130}
                entries.append(entry)
            return self.reply(handler, 200, [("Content-Type", "application/json")], json.dumps(entries).encode())
        if parts[0] == "api":
            revision = urllib.parse.unquote("/".join(parts[5:]))
            if revision not in repository.revisions and revision != COMMIT:
                return self.reply(handler, 404, [("X-Error-Code", "RevisionNotFound"), ("X-Error-Message", "Invalid rev id")], b"no")
            names = list(repository.files) + self.unsafe_names
            body = json.dumps({"id": name, "sha": COMMIT, "siblings": [{"rfilename": n} for n in names]}).encode()
            return self.reply(handler, 200, [("Content-Type", "application/json")], body)
        file = "/".join(parts[4:])
        if parts[2] != "resolve" or (parts[3] != COMMIT and parts[3] not in repository.revisions) or file not in repository.files:
            return self.reply(handler, 404, [("X-Error-Code", "EntryNotFound"), ("X-Error-Message", "Entry not found")], b"no")
        headers = [("X-Repo-Commit", COMMIT), ("Accept-Ranges", "bytes")]
        if file in repository.large:
            headers += [("X-Linked-Etag", f'"{repository.etag(file)}"'), ("X-Linked-Size", str(len(repository.files[file]))),
                        ("Location", f"{self.storage}/{name}/{urllib.parse.quote(file)}"), ("ETag", '"something-else"')]
            return self.reply(handler, 302, headers, b"moved")
        self.send_file(handler, repository, file, headers + [("ETag", f'"{repository.etag(file)}"')])

    def send_file(self, handler, repository, file, headers=()):
        data = repository.files[file]
        if file in self.corrupt:
            data = bytes([data[0] ^ 1]) + data[1:]
        status, start = 200, 0
        wanted = handler.headers.get("Range")
        if wanted and not self.ignore_ranges:
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            if start >= len(data):
                return self.reply(handler, 416, [("Content-Range", f"bytes */{len(data)}")])
            status = 206
            headers = [*headers, ("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")]
        body = data[start:]
        if handler.command == "GET" and file in self.cut_after:
            keep = self.cut_after.pop(file)
            self.reply(handler, status, headers, body[:keep], len(body))
            handler.close_connection = True
            handler.connection.close()
            return
        self.reply(handler, status, headers, body)
