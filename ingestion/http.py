"""One vendor request, sent until it is answered or patience ends: auth, budget, retries, error signs."""

import base64
import email.utils
import hashlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlencode, urlsplit, urlunsplit

import urllib3
from urllib3.exceptions import HTTPError

from ingestion.blocks import HttpEvidence
from ingestion.budget import Budget, shared_budget
from ingestion.errors import (
    ConfigError,
    CredentialsError,
    LarderError,
    OutageError,
    PutOffError,
    ShapeError,
    ThrottledError,
    VendorError,
)
from ingestion.limits import Until
from ingestion.page import Page
from ingestion.source import SourceRef, base_url_of, secret_values
from ingestion.spec import (
    BasicAuth,
    BearerAuth,
    ErrorClass,
    HeaderAuth,
    IntegrationSpec,
    LoginAuth,
    NoAuth,
    OAuthRefreshAuth,
    QueryTokenAuth,
    Stream,
)
from ingestion.template import fill
from ingestion.watchdog import pool, watched

MAX_PAGE = 256 * 1024 * 1024
_BACKOFF, _LONGEST_BACKOFF = 0.5, 60.0
_SLOWEST_ANSWER = 60.0  # seconds that any answer may take as a whole; with more patience, longer
_pool = pool(num_pools=64, maxsize=16, retries=False, timeout=urllib3.Timeout(connect=10, read=60), headers={})


@dataclass(frozen=True)
class Request:
    """A request without its credentials."""

    method: str
    url: str
    params: Mapping[str, str | Sequence[str]] = field(default_factory=dict)  # a sequence is a repeated parameter
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    as_form: bool = False  # the body as a form instead of JSON

    @property
    def address(self) -> str:
        """URL with parameters."""
        if not self.params:
            return self.url
        return f"{self.url}{'&' if '?' in self.url else '?'}{urlencode(self.params, doseq=True)}"


class CursorExpiredError(VendorError):
    """The vendor no longer knows the page cursor: the window is to be asked for anew."""


class _LoginThrottledError(Exception):
    """The vendor gives no token now; `wait` seconds later it may (0: it does not say)."""

    def __init__(self, wait: float) -> None:
        super().__init__(wait)
        self.wait = wait


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Client:
    """Sends requests of one source. Not for use by several threads at once; the budget behind it is shared."""

    def __init__(
        self,
        spec: IntegrationSpec,
        source: SourceRef,
        *,
        patience: float = 300.0,
        until: Until | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        """`patience`: seconds that one request may spend on waiting and retrying in all; `until`: the run's end."""
        self._spec, self._source, self._patience = spec, source, patience
        self._until = until or Until()
        self._sleep = sleep or self._until.sleep
        self._secrets = secret_values(source, spec)
        self.base_url = base_url_of(source, spec)
        settings = {f"config.{name}": source.config.get(name, "") for name in spec.config}
        self._headers = {name: value for name, value in fill(spec.headers, settings).items() if value}
        fingerprint = hashlib.sha256("\0".join([self.base_url, *self._secrets.values()]).encode()).hexdigest()
        rate = source.config.get("requests_per_second")
        self._budget: Budget = (
            shared_budget(spec.name, fingerprint, int(rate), 1.0)
            if rate
            else shared_budget(spec.name, fingerprint, spec.rate_limit.requests, spec.rate_limit.per.total_seconds())
        )
        self._tokens = _TokenCache.of(fingerprint)
        self._requests = self._retries = 0
        self._busy = 0.0  # seconds from requests to the ends of their answers
        self._statuses: Counter[str] = Counter()
        self._first = self._last = ""

    def take_evidence(self) -> HttpEvidence:
        """What was sent since the last call."""
        evidence = HttpEvidence(
            requests=self._requests,
            retries=self._retries,
            statuses=dict(self._statuses),
            first_url=self._first,
            last_url=self._last,
        )
        self._requests = self._retries = 0
        self._statuses.clear()
        self._first = self._last = ""
        return evidence

    def send(self, request: Request) -> Page:
        """The vendor's good answer.

        Raises VendorError (unreachable, throttled or failing beyond patience, unreadable), CredentialsError (refused),
        ConfigError (a request the vendor will never accept), CursorExpiredError, PutOffError (the run is over).
        """
        waited, attempt, logins = 0.0, 0, 0
        public = self._public(request)
        self._first = self._first or public
        self._last = public
        while True:
            if self._until.over:
                raise PutOffError(self._source.extract_command)
            busy = self._busy
            problem, wait = self._try(request, public)
            if isinstance(problem, Page):
                return problem
            waited += self._busy - busy
            if isinstance(problem, CredentialsError) and self._takes_tokens and logins == 0:
                logins += 1
                self._tokens.forget()
                continue
            if wait is None:
                raise problem
            attempt += 1
            seconds = wait or random.uniform(0.2, 1) * min(_LONGEST_BACKOFF, _BACKOFF * 2**attempt)
            if self._until.left <= seconds < self._patience - waited:
                raise PutOffError(self._source.extract_command)  # it might have been answered yet
            if waited + seconds > self._patience:
                known = (kind for kind in (OutageError, ThrottledError, ShapeError) if isinstance(problem, kind))
                raise next(known, VendorError)(
                    f"{problem.cause}; gave up after {attempt} tries and {waited:.0f} s of waiting"
                    + (f" (the vendor asks for {wait:.0f} s more)" if wait else ""),
                    next_command=self._source.extract_command,
                ) from problem
            self._retries += 1
            if wait:
                self._budget.pause(seconds)
            else:
                self._sleep(seconds)
            waited += seconds

    def _try(self, request: Request, public: str) -> tuple[Page | LarderError, float | None]:
        """The page; or what is wrong and how long to wait (0: back off; None: retrying will not help)."""
        again = self._source.extract_command
        try:
            answer = self._exchange(self._signed(request))
        except HTTPError as error:
            return self._unreachable(error), 0.0
        except OutageError as error:
            return error, 0.0
        except _LoginThrottledError as error:
            cause = f"{self._spec.title} throttles the login of {self._source.label}"
            return ThrottledError(cause, next_command=again), error.wait
        except LarderError as error:
            return error, None
        page = Page(answer.body, answer.headers, public, again)
        meaning = self._meaning(answer, page)
        if meaning is None:
            try:
                page.check()
            except VendorError as error:
                return error, 0.0
            return page, None
        said = self._excerpt(answer.body)
        if meaning == "throttled":
            wait = _retry_after(answer.headers, self._spec.rate_limit.reset_header)
            return ThrottledError(f"{self._spec.title} throttles {self._source.label}{said}", next_command=again), wait
        if meaning == "credentials":
            return self._refused(answer.status, said), None
        if meaning == "cursor_expired":
            return CursorExpiredError(f"{public}: the page cursor expired{said}", next_command=again), None
        if meaning == "config":
            return (
                ConfigError(
                    f"{self._spec.title} refuses the request {public} of {self._source.label} "
                    f"(HTTP {answer.status}){said}",
                    next_command=self._source.check_command,
                ),
                None,
            )
        return OutageError(f"{public} failed (HTTP {answer.status}){said}", next_command=again), 0.0

    def _exchange(self, request: Request) -> _Answer:
        wait = self._budget.reserve()
        if wait > 0:
            if wait >= self._until.left:
                raise PutOffError(self._source.extract_command)
            self._sleep(wait)
        self._requests += 1
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip", **self._headers, **request.headers}
        body = None
        if request.body is not None and request.as_form:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode(request.body).encode()
        elif request.body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(request.body).encode()
        started, slowest = time.monotonic(), max(_SLOWEST_ANSWER, self._patience)
        try:
            with watched(min(slowest, self._until.left)) as watch:
                answer = self._read(request, body, headers)
        except HTTPError:
            if not watch.late:
                raise
        finally:
            self._busy += time.monotonic() - started
        if watch.late:  # also an answer that seems whole: where it says no length, it ends with its connection
            raise PutOffError(self._source.extract_command) if self._until.over else self._too_slow(slowest)
        return answer

    def _read(self, request: Request, body: bytes | None, headers: Mapping[str, str]) -> _Answer:
        response = _pool.request(
            request.method, request.address, body=body, headers=headers, preload_content=False, redirect=False
        )
        try:
            chunks, size = [], 0
            for chunk in response.stream(1 << 20, decode_content=True):
                size += len(chunk)
                if size > MAX_PAGE:
                    raise VendorError(
                        f"{self._public(request)} answered with a page of more than {MAX_PAGE >> 20} MB",
                        next_command=self._source.check_command,
                    )
                chunks.append(chunk)
        except BaseException:
            response.close()  # the rest of the answer must not be taken for the next one
            raise
        response.release_conn()
        self._statuses[str(response.status)] += 1
        return _Answer(response.status, response.headers, b"".join(chunks))

    def _signed(self, request: Request) -> Request:
        request = _with_headers(
            request, {header: self._secrets[secret] for header, secret in self._spec.secret_headers.items()}
        )
        match self._spec.auth:
            case NoAuth():
                return request
            case BearerAuth(secret=secret):
                return _with_headers(request, {"Authorization": f"Bearer {self._secrets[secret]}"})
            case HeaderAuth(secret=secret, header=header, prefix=prefix):
                return _with_headers(request, {header: prefix + self._secrets[secret]})
            case BasicAuth(secret=secret, user=user):
                pair = base64.b64encode(f"{user}:{self._secrets[secret]}".encode()).decode()
                return _with_headers(request, {"Authorization": f"Basic {pair}"})
            case QueryTokenAuth(secret=secret, param=param):
                url = _without_param(request.url, param)
                return replace(request, url=url, params={**request.params, param: self._secrets[secret]})
            case LoginAuth() as login:
                token = self._tokens.get(lambda: self._log_in(login))
                return _with_headers(request, {login.header: login.prefix + token})
            case OAuthRefreshAuth() as oauth:
                token = self._tokens.get(lambda: self._refresh(oauth))
                return _with_headers(request, {"Authorization": f"Bearer {token}"})

    @property
    def _takes_tokens(self) -> bool:
        """Whether a refused token can be replaced by a new one."""
        return isinstance(self._spec.auth, LoginAuth | OAuthRefreshAuth)

    def _log_in(self, auth: LoginAuth) -> tuple[str, float]:
        body = {**auth.fields, **{name: self._secrets[secret] for name, secret in auth.secrets.items()}}
        page = self._ask_for_token(Request("POST", f"{self.base_url}{auth.path}", body=body))
        return _token(page, auth.token, auth.expires_in)

    def _refresh(self, auth: OAuthRefreshAuth) -> tuple[str, float]:
        body = {
            "grant_type": "refresh_token",
            "client_id": self._secrets[auth.client_id],
            "client_secret": self._secrets[auth.client_secret],
            "refresh_token": self._secrets[auth.refresh_token],
        }
        url = str(self._source.config.get("token_url", auth.url))
        page = self._ask_for_token(Request("POST", url, body=body, as_form=True))
        following = page.text("refresh_token")
        if following is not None and following != self._secrets[auth.refresh_token]:
            self._keep(auth.refresh_token, following)
        return _token(page, "access_token", "expires_in")

    def _keep(self, name: str, value: str) -> None:
        """Some vendors give a new refresh token with each answer, and the old one is worth nothing from then on."""
        if self._source.keep_secret is None:
            raise ConfigError(
                f"{self._spec.title} gave {self._source.label} a new refresh token, and it cannot be kept: the secret"
                " must be in a file of this installation (file:PATH); connect the source anew with one",
                next_command="larder source add --help",
            )
        self._secrets[name] = value
        self._source.keep_secret({**self._source.secret, name: value})

    def _ask_for_token(self, request: Request) -> Page:
        answer = self._exchange(request)
        page = Page(answer.body, answer.headers, request.url, self._source.check_command)
        meaning = self._meaning(answer, page)
        if meaning == "throttled":
            raise _LoginThrottledError(_retry_after(answer.headers, self._spec.rate_limit.reset_header))
        if meaning is not None:
            if answer.status in (400, 401, 403):
                raise self._refused(answer.status, self._excerpt(answer.body))
            raise HTTPError(f"the login answered HTTP {answer.status}")
        return page

    def _meaning(self, answer: _Answer, page: Page) -> ErrorClass | None:
        """What the answer means by the integration's error signs, else by its status; None: it is good."""
        for sign in self._spec.error_signs:
            if sign.status is not None and sign.status != answer.status:
                continue
            if sign.path is not None:
                try:
                    value = page.text(sign.path)
                except VendorError:
                    continue  # not JSON: the status decides
                if value is None or value in sign.other_than or (sign.values and value not in sign.values):
                    continue
            return sign.means
        status = answer.status
        if status < 300:
            return None
        by_status: dict[int, ErrorClass] = {401: "credentials", 403: "credentials", 429: "throttled", 408: "vendor"}
        return by_status.get(status, "vendor" if status >= 500 else "config")

    def _refused(self, status: int, said: str) -> CredentialsError:
        return CredentialsError(
            f"{self._spec.title} refuses the credentials of {self._source.label} (HTTP {status}){said}",
            next_command=self._source.check_command,
        )

    def _too_slow(self, seconds: float) -> OutageError:
        return OutageError(
            f"{self._spec.title} at {self.base_url} did not come to the end of its answer in {seconds:.0f} s",
            next_command=self._source.extract_command,
        )

    def _unreachable(self, error: HTTPError) -> OutageError:
        detail = self._without_secrets(" ".join(str(error).split()))
        what = "broke off its answer" if _broke_off(error) else "cannot be reached"
        return OutageError(
            f"{self._spec.title} at {self.base_url} {what}: {detail}", next_command=self._source.extract_command
        )

    def _excerpt(self, body: bytes) -> str:
        said = self._without_secrets(" ".join(body[:300].decode("utf-8", "replace").split()))
        return f": {said}" if said else ""

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets.values():
            text = text.replace(secret, "…").replace(quote_plus(secret), "…")
        return text

    def _public(self, request: Request) -> str:
        if isinstance(self._spec.auth, QueryTokenAuth):
            return replace(request, url=_without_param(request.url, self._spec.auth.param)).address
        return request.address

    def address_of(self, stream: Stream) -> str:
        """Where a stream is asked for."""
        return base_url_of(self._source, self._spec, stream)

    def follow(self, url: str, asked: Request) -> Request:
        """The request of a next-page URL that an answer to `asked` gave; it must lead to the same host, since it
        carries the credentials."""
        ours, theirs = urlsplit(asked.url), urlsplit(url)
        if (theirs.scheme, theirs.netloc) != (ours.scheme, ours.netloc):
            raise VendorError(
                f"{self._spec.title} sends {self._source.label} to another host for the next page: {theirs.netloc}",
                next_command=self._source.check_command,
            )
        return Request("GET", url)


class _TokenCache:
    """Login tokens of a credential, shared by every source that uses it."""

    _all: dict[str, "_TokenCache"] = {}  # noqa: RUF012
    _all_lock = threading.Lock()

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._token: str | None = None
        self._until = 0.0

    @classmethod
    def of(cls, fingerprint: str) -> "_TokenCache":
        with cls._all_lock:
            return cls._all.setdefault(fingerprint, cls())

    def get(self, log_in: Callable[[], tuple[str, float]]) -> str:
        with self._lock:
            if self._token is None or time.monotonic() > self._until:
                self._token, lifetime = log_in()
                self._until = time.monotonic() + lifetime * 0.9
            return self._token

    def forget(self) -> None:
        with self._lock:
            self._token = None


def _token(page: Page, token_at: str, lifetime_at: str | None) -> tuple[str, float]:
    """The token of an answer and its lifetime in seconds, an hour where it does not say."""
    token = page.text(token_at)
    if token is None:
        raise page.malformed(f"it has no {token_at!r}")
    lifetime = page.text(lifetime_at) if lifetime_at else None
    return token, float(int(lifetime)) if lifetime and lifetime.isdigit() else 3600.0


def _with_headers(request: Request, headers: Mapping[str, str]) -> Request:
    return replace(request, headers={**request.headers, **headers})


def _without_param(url: str, param: str) -> str:
    parts = urlsplit(url)
    kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != param]
    return urlunsplit(parts._replace(query=urlencode(kept)))


def _broke_off(error: HTTPError) -> bool:
    return isinstance(error, urllib3.exceptions.ProtocolError) and "IncompleteRead" in repr(error)


def _retry_after(headers: Mapping[str, str], reset_header: str | None) -> float:
    """Seconds that the vendor asks to wait, with a little jitter; 0 if it does not say."""
    value = headers.get("Retry-After")
    seconds = 0.0
    if value is not None and value.strip().isdigit():
        seconds = float(int(value))
    elif value is not None and (moment := email.utils.parsedate_tz(value)) is not None:
        seconds = max(0.0, email.utils.mktime_tz(moment) - time.time())
    elif reset_header and (reset := headers.get(reset_header, "")).isdigit():
        seconds = max(0.0, int(reset) - time.time())
    return seconds + random.uniform(0, 0.1) * min(seconds, 10) if seconds else 0.0
