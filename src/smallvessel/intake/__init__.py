"""Intake: BIDS folders or plain files in, checked sessions out."""

from .bids import find_sessions, session_from_files
from .sequences import load_session

__all__ = ["find_sessions", "load_session", "session_from_files"]
