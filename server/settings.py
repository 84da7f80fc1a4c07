"""What the server can be told from outside; every limit a stranger can run into stands here."""

from dataclasses import dataclass, field
from typing import Literal

from server.jobs.limits import Limits
from twin.scope import EVERYTHING, Scope


@dataclass(frozen=True)
class Settings:
    """Settings of one server process.

    Attributes
    ----------
    scope : what the anonymous reader may see
    public_url : base of all links, when the server cannot see it from the request (`https://city.example/twin`)
    trust_forwarded : take the address in links from `X-Forwarded-Proto`, `-Host` and `-Prefix`. Only for a server that
        none but a proxy of one's own can reach: anyone else may send these headers too. `public_url` needs no trust
    default_limit, max_limit : features of a page when `limit` is absent, and at most
    max_search_s : seconds that looking for a page of features, or counting, may take
    max_url_bytes, max_body_bytes : longer requests get 414 and 413
    edit : whose edits are taken: `local` of whoever works at this machine, `anyone` of who reaches the server, `nobody`
    edit_origins : origins (`https://editor.example`) whose pages may edit from a browser, beside the server's own
    demand_if_match : edits that do not say which state they were made on get 428. QGIS says none
    max_edit_bytes, max_edit_features, max_edit_points : of one request with edits
    jobs : what executions of processes may take, and how much is kept of them
    threads, most_threads : requests that one process works on at a time, and at most while some of them take long (see
        `server.lanes`); edits and analyses have threads of their own
    warm_up : after start, import and prepare in the background what the first reader would wait for
    access_log : one line a request in the logger `citytwin.access`
    """

    scope: Scope = EVERYTHING
    public_url: str | None = None
    trust_forwarded: bool = False
    default_limit: int = 1000
    max_limit: int = 10_000
    max_search_s: float = 30.0
    max_url_bytes: int = 16_384
    max_body_bytes: int = 2_000_000
    edit: Literal["local", "anyone", "nobody"] = "local"
    edit_origins: tuple[str, ...] = ()
    demand_if_match: bool = False
    max_edit_bytes: int = 10_000_000
    max_edit_features: int = 10_000
    max_edit_points: int = 250_000
    jobs: Limits = field(default_factory=Limits)
    threads: int = 2
    most_threads: int = 16
    warm_up: bool = True
    access_log: bool = True
