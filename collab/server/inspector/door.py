"""Who may use the inspector: whoever has its secret, or signed in with a link."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic, time

from starlette.requests import Request

from collab.access.handshake import origin_allowed, public_scheme, token_from
from collab.access.inspection import InspectionKey
from collab.access.limits import Rates
from collab.errors import AuthenticationFailed, InvalidRequest, PermissionDenied, RateLimitExceeded
from collab.realtime.topics.announcements import Announcements
from collab.server.admission import Admission
from collab.server.config.settings import Settings
from collab.server.inspector.questions import SignIn
from collab.storage.nodes import Announcement
from collab.transport.unproven import trust

HEADER = "x-collab-inspector"
"""Pages of other origins cannot send it without asking first, and are never allowed to."""

_LINK_USED = "inspector_link_used"
_ATTEMPTS_A_SECOND = 1.0  # of one address; ten seconds' worth may come at once
_REQUESTS_A_SECOND = 20.0


class Door:
    """Lets operators in. A link is used once: on all nodes of a cluster, and not after this process has restarted.

    ``claim`` says whether this node may use a link, which is no other living node's then.
    """

    def __init__(
        self,
        key: InspectionKey,
        settings: Settings,
        admission: Admission,
        announcements: Announcements,
        claim: Callable[[str], Awaitable[bool]],
        clock: Callable[[], float] = time,
    ) -> None:
        self.key = key
        self._settings = settings
        self._admission = admission
        self._announcements = announcements
        self._claim = claim
        self._clock = clock
        self._began = clock()
        self._used: dict[str, float] = {}  # names of links, until they expire
        self._attempts = Rates(_ATTEMPTS_A_SECOND, 0)
        self._requests = Rates(_REQUESTS_A_SECOND, 0)
        announcements.on(_LINK_USED, self._hear_used)

    def has_signed_in(self, request: Request) -> bool:
        """Whether to show the page, instead of a form to sign in. It asks for nothing that :meth:`check` protects."""
        self._admission.read(request.scope)
        found = token_from(request.headers, {}, self.key.cookie)
        try:
            self.key.check_session(found.token if found.token is not None and found.from_cookie else "", self._clock())
        except AuthenticationFailed:
            return False
        trust(request.scope)
        return True

    def check(self, request: Request) -> None:
        """Let a request pass, or raise :class:`AuthenticationFailed`, :class:`PermissionDenied` or
        :class:`RateLimitExceeded`.
        """
        address = self._read(request)
        found = token_from(request.headers, {}, self.key.cookie)
        if found.token is None:
            raise AuthenticationFailed("sign in to the inspector first")
        if found.from_cookie:
            if request.headers.get(HEADER) is None:
                raise PermissionDenied(f"requests with a cookie need the header {HEADER}")
            self.key.check_session(found.token, self._clock())
        else:
            self._count_attempt(address, 0)  # beyond the limit a right guess looks like a wrong one
            if not self.key.matches(found.token):
                self._count_attempt(address)
                raise AuthenticationFailed("this is not the secret of the inspector")
        _require(self._requests.take(address, 0, monotonic()), "too many requests to the inspector")
        trust(request.scope)

    async def sign_in(self, request: Request, said: SignIn) -> str:
        """Check a link or the secret, and return the value of a cookie. Raises the same errors."""
        address = self._read(request)
        if (said.link is None) == (said.secret is None):
            raise InvalidRequest("signing in needs a link or a secret")
        self._count_attempt(address)
        if said.link is not None:
            await self._use(said.link)
        elif said.secret is not None and not self.key.matches(said.secret):
            self._admission.tell("refused a wrong secret of the inspector")
            raise AuthenticationFailed("this is not the secret of the inspector")
        trust(request.scope)
        return self.key.issue_session(self._clock())

    def is_secure(self, request: Request) -> bool:
        """Whether browsers reach us by HTTPS, so that the cookie must not travel otherwise."""
        peer = request.client.host if request.client is not None else None
        known = public_scheme(
            self._settings.public_scheme,
            peer,
            request.headers.get("x-forwarded-proto"),
            self._settings.trusted_proxies,
        )
        return (known or request.scope.get("scheme")) == "https"

    def _read(self, request: Request) -> str | None:
        """Return the sender's address, unless it is a page of another origin, or the server is not for this sender."""
        sender = self._admission.read(request.scope)
        origin = request.headers.get("origin")
        if origin is not None and not origin_allowed(origin, request.headers.get("host"), (), False):
            raise PermissionDenied("the inspector serves its own pages only")
        return sender.client

    def _count_attempt(self, address: str | None, count: int = 1) -> None:
        _require(self._attempts.take(address, 0, monotonic(), count), "too many attempts to sign in")

    async def _use(self, text: str) -> None:
        now = self._clock()
        link = self.key.read_link(text, now)
        used = link.name in self._used or link.issued < self._began
        self._used[link.name] = link.expires
        # the announcement may come too late: somebody may use the link at two nodes at once
        if used or not await self._claim(f"inspector link {link.name}"):
            raise AuthenticationFailed("this link was used, or the server has restarted: use the secret")
        await self._announcements.announce(Announcement(None, _LINK_USED, {"name": link.name, "expires": link.expires}))

    async def _hear_used(self, announcement: Announcement) -> None:
        now = self._clock()
        for name in [name for name, expires in self._used.items() if expires <= now]:
            del self._used[name]
        self._used[str(announcement.body["name"])] = float(announcement.body["expires"])


def _require(wait: float, why: str) -> None:
    if wait:
        raise RateLimitExceeded(why, retryAfter=round(wait, 3))
