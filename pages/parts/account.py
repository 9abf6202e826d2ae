"""Signing in through a provider (OpenID Connect), where `.streamlit/secrets.toml` has an `[auth]` section."""

from collections.abc import Mapping
from importlib.util import find_spec

import streamlit as st

from eurosat_core.classroom.account import Account


def _auth() -> Mapping[str, object]:
    """What the section says; empty without one."""
    try:
        found = st.secrets.get("auth", {})
    except FileNotFoundError:
        return {}
    return found if isinstance(found, Mapping) else {}


def providers() -> list[str]:
    """Names of the providers to choose from, "default" for one that has no name; none where nobody can sign in."""
    auth = _auth()
    if not auth or find_spec("authlib") is None:  # the server's log says so at its start
        return []
    if "client_id" in auth:
        return ["default"]
    return [name for name, each in auth.items() if isinstance(each, Mapping) and "client_id" in each]


def current() -> Account | None:
    """Whoever is signed in. Streamlit has checked the signature of the cookie that says so."""
    return Account.of(st.user.to_dict()) if st.user.get("is_logged_in") is True else None


def secret() -> str:
    """What stands for whoever is signed in; empty for nobody."""
    account, key = current(), _auth().get("cookie_secret")
    return account.secret(key) if account is not None and isinstance(key, str) and key else ""
