"""A provider of identities (OpenID Connect) on this machine: no password, and it vouches for whom a test names."""

import base64
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, CLIENT_SECRET = "eurosat-lab", "the client's secret"
_LASTS = 600


class Provider(ThreadingHTTPServer):
    """Discovery, keys, authorization code with its exchange for a token, and the end of a session.

    person: the claims of whoever signs in next; `sub` is theirs for good. honest: whether the token bears the
    signature of the published key.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.person: dict[str, Any] = {}
        self.honest = True
        self.granted: dict[str, tuple[dict[str, Any], str]] = {}  # claims and nonce, by code
        self.key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
        self.other_key = RSAKey.generate_key(2048, {"kid": "one"})

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def secrets_toml(self, app: str, **classroom: object) -> str:
        """What an app at this address writes into its `secrets.toml`, with these entries of `[classroom]`."""
        auth = {
            "redirect_uri": f"{app}/oauth2callback",
            "cookie_secret": secrets.token_hex(),
            "client_id": CLIENT,
            "client_secret": CLIENT_SECRET,
            "server_metadata_url": f"{self.issuer}/.well-known/openid-configuration",
        }
        parts = {"auth": auth, "classroom": classroom}
        return "".join(
            f"[{part}]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in entries.items())
            for part, entries in parts.items()
        )

    def token(self, code: str) -> dict[str, Any]:
        claims, nonce = self.granted.pop(code)
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + _LASTS, "nonce": nonce} | claims
        signed = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key if self.honest else self.other_key)
        return {"access_token": secrets.token_hex(), "token_type": "Bearer", "expires_in": _LASTS, "id_token": signed}


class _Answers(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        here = self.server.issuer
        if path == "/.well-known/openid-configuration":
            self._json(
                {
                    "issuer": here,
                    "authorization_endpoint": f"{here}/authorize",
                    "token_endpoint": f"{here}/token",
                    "jwks_uri": f"{here}/keys",
                    "end_session_endpoint": f"{here}/leave",
                    "response_types_supported": ["code"],
                    "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": ["RS256"],
                }
            )
        elif path == "/keys":
            self._json({"keys": [self.server.key.as_dict(private=False)]})
        elif path == "/authorize" and asked["client_id"] == CLIENT and "openid" in asked["scope"].split():
            code = secrets.token_hex()
            self.server.granted[code] = dict(self.server.person), asked["nonce"]
            self._go(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}")
        elif path == "/leave":
            back = urlsplit(asked["post_logout_redirect_uri"])
            self._go(f"{back.scheme}://{back.netloc}/")
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        given = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        proof = base64.b64encode(f"{CLIENT}:{CLIENT_SECRET}".encode()).decode()
        quoted = base64.b64encode(urlencode({CLIENT: CLIENT_SECRET}).replace("=", ":").encode()).decode()
        by_header = self.headers.get("Authorization", "") in (f"Basic {proof}", f"Basic {quoted}")
        if not (by_header or given.get("client_secret") == [CLIENT_SECRET]):
            self.send_error(401)
            return
        self._json(self.server.token(given["code"][0]))

    def _json(self, values: dict[str, Any]) -> None:
        content = json.dumps(values).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _go(self, address: str) -> None:
        self.send_response(302)
        self.send_header("Location", address)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def provider() -> Iterator[Provider]:
    """One that answers while this is open."""
    server = Provider()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
