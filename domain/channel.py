"""The ways a reminder can leave, and what kind of address each one needs."""

from enum import StrEnum


class Channel(StrEnum):
    SMS = "sms"
    EMAIL = "email"
    PUSH = "push"
    CALL = "call"
    LETTER = "letter"
    SOCIAL = "social"
    VISIT = "visit"
    NULL = "null"  # accepts and forgets: for measuring only


class AddressChannel(StrEnum):
    """What an address is, whoever dials or writes to it."""

    PHONE = "phone"
    EMAIL = "email"
    PUSH = "push"
    POST = "post"
    SOCIAL = "social"


class AddressKind(StrEnum):
    """Where an address rings: rules differ for a number at work."""

    MOBILE = "mobile"
    HOME = "home"
    WORK = "work"


#: The address each channel goes to.
REACHED_BY: dict[Channel, AddressChannel] = {
    Channel.SMS: AddressChannel.PHONE,
    Channel.CALL: AddressChannel.PHONE,
    Channel.EMAIL: AddressChannel.EMAIL,
    Channel.PUSH: AddressChannel.PUSH,
    Channel.LETTER: AddressChannel.POST,
    Channel.VISIT: AddressChannel.POST,
    Channel.SOCIAL: AddressChannel.SOCIAL,
    Channel.NULL: AddressChannel.PHONE,
}

#: Channels on which a person of ours does the contacting; the engine hands a task over and sends nothing.
BY_A_PERSON = frozenset({Channel.CALL, Channel.VISIT})
