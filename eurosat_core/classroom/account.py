"""Who signed in through the workshop's provider (OpenID Connect), as its token says.

Provider and subject together are one person for good, in whichever browser; names and e-mail addresses change.
"""

import base64
import hmac
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

_LONGEST = 500  # signs of anything in a token; a subject has 255 at most


@dataclass(frozen=True)
class Account:
    """One person at one provider.

    Attributes:
        issuer: The provider. subject: Its name for the person, which never changes.
        name: What it calls them; may be empty.
        email: Their address, if the provider says that it has checked it; else empty.
    """

    issuer: str
    subject: str
    name: str = ""
    email: str = ""

    @classmethod
    def of(cls, claims: Mapping[str, object]) -> "Account | None":
        """The account that the claims of a verified token speak of; None where they name nobody."""

        def text(*names: str) -> str:
            found = (claims.get(each) for each in names)
            return next((each[:_LONGEST] for each in found if isinstance(each, str) and each.strip()), "")

        issuer, subject = text("iss", "provider"), text("sub")
        if not issuer or not subject:
            return None
        is_checked = claims.get("email_verified") is True or claims.get("email_verified") == "true"
        name = text("nickname", "preferred_username", "name", "given_name").partition("@")[0]
        return cls(issuer, subject, name, text("email") if is_checked else "")

    def secret(self, key: str) -> str:
        """What stands for this person as the secret in a cookie stands for a browser.

        key: known to the server alone, so that nobody else can make it. Raises `ValueError` for an empty one.
        """
        if not key:
            raise ValueError("an account's secret needs a key")
        said = json.dumps([self.issuer, self.subject]).encode()
        return base64.urlsafe_b64encode(hmac.digest(key.encode(), said, "sha256")).rstrip(b"=").decode()

    def is_one_of(self, named: Collection[str]) -> bool:
        """Whether a list names this account, by its subject or by an e-mail address that the provider has checked."""
        addresses = {each.strip().casefold() for each in named}
        return self.subject in named or (bool(self.email) and self.email.strip().casefold() in addresses)
