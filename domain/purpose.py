"""What a contact is for, who makes it, and which way it goes. Fixed when the contact happens."""

from enum import StrEnum


class Purpose(StrEnum):
    REMINDER = "reminder"
    REPLY = "reply"
    REQUESTED_CALLBACK = "requested_callback"
    STATUTORY_NOTICE = "statutory_notice"
    OPTOUT_CONFIRMATION = "optout_confirmation"
    SERVICE = "service"
    EDUCATION = "education"
    REWARD = "reward"
    SURVEY = "survey"


class Actor(StrEnum):
    """In whose name the law sees us: many rules bind one of them only."""

    CREDITOR = "creditor"
    AGENCY = "agency"
    PURCHASER = "purchaser"


class Direction(StrEnum):
    OUT = "out"
    IN = "in"
