"""What a customer's reply wants: to be left alone, to say that it is paid, to ask for help, or something for a person.

Providers match whole words only, and only some of them; the law also knows "please stop texting me". So free text is
read here, in English and both Chinese scripts. Where it is not sure it says so, and a person reads the reply: a wrong
opt-out costs us a reminder, a missed one costs the customer their peace. The lists are our own.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Intent(StrEnum):
    OPT_OUT = "opt_out"
    OPT_IN = "opt_in"  # wants to be written to again
    PAID = "paid"
    HARDSHIP = "hardship"  # cannot pay, or asks for time or a plan
    OTHER = "other"  # a person reads it before anything else is sent


@dataclass(frozen=True, slots=True)
class Reading:
    """`is_certain` only when the whole reply is a known keyword or phrase; everything else a person looks at too."""

    intent: Intent
    is_certain: bool


_OPT_OUT_WORDS = """
stop, stopall, stop all, unsubscribe, cancel, end, quit, revoke, optout, opt out, arret, remove, td, t, r, tuiding
退订, 退訂, 取消, 取消订阅, 取消訂閱, 停止, 拒收, 拒絕接收, 别发了, 別發了, 别再发了, 別再發了, 不要再发了, 不要再發了
"""
_OPT_IN_WORDS = """
start, unstop, opt in, optin, resubscribe, start again
恢复, 恢復, 恢复订阅, 恢復訂閱, 重新订阅, 重新訂閱, 恢复接收, 恢復接收, 恢复提醒, 恢復提醒
"""
_PAID_WORDS = """
paid, already paid, i paid, i have paid, ive paid, i already paid, payment made, payment sent, just paid, paid already
已还, 已還, 已还款, 已還款, 已付, 已付款, 已缴, 已繳, 已繳費, 已缴费, 已经还了, 已經還了, 已经付了, 已經付了, 已經繳了
还了, 還了, 付了, 繳了, 缴了, 还清了, 還清了, 繳清了, 付清了, 已还清, 已還清, 已转账, 已轉帳, 已匯款, 已汇款
"""

#: What our own copy tells people to reply when they cannot pay.
_HELP_WORDS = """
plan, pause, 分期, 延期
"""


def _words(block: str, intent: Intent) -> dict[str, Intent]:
    return dict.fromkeys(block.strip().replace("\n", ", ").split(", "), intent)


#: Whole replies, folded. Sources of the opt-out words: Twilio's, AWS's and Telnyx's defaults (docs/channels.md), and
#: the letters that Chinese senders announce ("reply T to unsubscribe", "reply R to refuse").
KEYWORDS: Mapping[str, Intent] = {
    **_words(_OPT_OUT_WORDS, Intent.OPT_OUT),
    **_words(
        _OPT_IN_WORDS, Intent.OPT_IN
    ),  # only whole replies: "yes", which some providers take for one, is too vague
    **_words(_PAID_WORDS, Intent.PAID),
    **_words(_HELP_WORDS, Intent.HARDSHIP),
}

#: Anywhere in the reply.
_STOP = re.compile(
    r"\b(unsubscribe|opt(ed)? ?out|optout|stopall)\b"
    r"|\bstop (it|this|that|these|them|now|please|pls|already|all|everything|asking|bothering|harassing"
    r"|spamming|annoying"
    r"|messag\w+|text\w*|send\w*|contact\w*|call\w*|e ?mail\w*|remind\w*|notif\w+|sms|the (messag|text|call"
    r"|remind|e ?mail)\w*"
    r"|your (messag|text|call|remind|e ?mail)\w*|me\b)"
    r"|\b(please|pls|just|must|should|to|you) stop$"
    r"|\b(do ?nt|do not|dont ever|never|no longer|not to|quit|cease) (ever |again )?(text|messag|contact|call"
    r"|e ?mail|send|sms|write|bother|remind)\w*"
    r"|\b(no more|enough of the|enough with the|not want( any| your| these| more)*|dont want( any| your| these"
    r"| more)*|do not need)"
    r" (messag|text|call|sms|remind|e ?mail|notif|contact)\w*"
    r"|\b(remove|delete|take|get) (me|us|my (phone|number|mobile|cell|e ?mail|name|contact|details))\b.*\b(off"
    r"|from|out|list|database|number|please|now|system)\b"
    r"|\b(remove|delete) (me|my number)$"
    r"|\bleave me alone\b|\b(cease and desist|revoke (my )?consent|withdraw (my )?consent)\b|\bwrong (number"
    r"|person)\b.*\bstop\b"
    r"|退[订訂]|取消[订訂][阅閱]|拒[绝絕]?(收|接收)|[请請]?勿[扰擾]|免打[扰擾]"
    r"|([别別]|不要|[请請]勿|勿|停止|不想|不希望|不准|[无無]需|不用|[终終]止)(再|[继繼][续續]|[给給]我"
    r"|再[给給]我|跟我|和我|[对對]我|收到|接收|你[们們]|再收到)*"
    r"(的|[这這][些种種]|[任]何)*([发發]|[传傳]|寄|打|[联聯][系繫络絡]|[骚騷][扰擾]|打[扰擾]|催|[烦煩]|推送"
    r"|提醒|短信|短[讯訊]|[简簡][讯訊]|信息|[讯訊]息|消息|[电電][话話])"
)

#: In a short reply the bare word is enough; in a long one ("I can stop by on Friday") it only makes us unsure.
_STOP_WORD = re.compile(r"\bstop+\b|停止|取消")
SHORT_WORDS = 4
SHORT_HAN = 8

_NOT_STOP = re.compile(
    r"\b(do ?nt|do not|never|cannot|cant|wont) stop\b|\bstop(ped)? (by|in|at|over)\b|\b(bus|non|full"
    r"|pit) ?stop\b|不要停|[别別]停"
)

_PAID = re.compile(
    r"\b(i|we|have|has|ive|weve|was|is|already|just|bill|debt|account|amount|it|full|husband|wife|son"
    r"|daughter) (already |just |now |been |fully |it )*paid\b"
    r"|\bpaid (it|this|that|the|my|you|in full|off|today|yesterday|last|on|via|by|already|online|this)\b"
    r"|\b(made|sent|completed|finished) (the |a |my |full )*(payment|transfer)\b|\bpayment (was |is |has been "
    r"|have been )?(made|sent|done|completed)\b"
    r"|\b(transferred|settled) (it|the|my|this|all|in full|today|yesterday|already)\b|\balready (transferred"
    r"|settled|sent)\b"
    r"|(已[经經]?|[刚剛]才?|昨天|今天|早就|都)[^没沒未不]{0,6}(还|還|付|缴|繳|匯|汇|转[账帐]|轉[账帳])(了|清"
    r"|完|款|過|过|費|费|$|[^不])"
    r"|(还|還|付|缴|繳|匯|汇)(清|完|過|过)(了|$)|(还|還|付|缴|繳|匯|汇)款?了"
)
_NOT_PAID = re.compile(
    r"\b(not|never|havent|hasnt|wasnt|isnt|didnt|be|get|gets|getting|got|until|when|once|if|un|wont|cannot"
    r"|cant|being|before|after) "
    r"(\w+ ){0,3}(paid|payment|payday)\b|\bpaid (next|on friday|weekly|monthly|soon|tomorrow|less|too much"
    r"|twice|again)\b"
    r"|[没沒未][有能]?(还|還|付|缴|繳|匯|汇|钱|錢)|(还|還|付|缴|繳)不|不(还|還|付|缴|繳)|[吗嗎么麼][?]?$|[?]$"
    r"|[等如].{0,8}(还|還|付|缴|繳)|多付|重[复複]"
)

_HARDSHIP = re.compile(
    r"\b(cant|cannot|can not|unable to|not able to|couldnt|wont be able to|struggling to|difficult(y)? (to"
    r"|in)?) ?(pay|afford|repay|make|cover|meet|manage)\w*"
    r"|\b(lost my job|lost his job|lost her job|laid off|unemployed|no (job|money|income|work|salary)"
    r"|out of work|redundant|redundancy|bankrupt\w*"
    r"|hardship|broke|benefits|universal credit|food bank|evict\w*)\b"
    r"|\b(payment plan|repayment plan|instal+ments?|pay (in parts|part|half|some|later|weekly|monthly"
    r"|a little)|part payment|partial payment|split (it|the)"
    r"|more time|extra time|extension|extend|grace|defer\w*|postpone|reschedul\w*|pay (you )?(next|on|after"
    r"|when)|reduce (the|my)|settlement)\b"
    r"|\b(hospital|surgery|cancer|illness|ill|sick|disabled|funeral|passed away|divorce\w*|struggling"
    r"|difficult\w*)\b"
    r"|[没沒](有)?[钱錢]|(还|還|付|缴|繳|负[担擔]|負[担擔])不(起|上|出|了)|困[难難]|失[业業]|下[岗崗]|裁[员員]"
    r"|[没沒](有)?(工作|收入)|分期|延[期后後迟遲]|展期|[宽寬](限|延)"
    r"|[缓緩](还|還|交|缴|繳|一|几|幾)|晚(几|幾|点|點|些|一)|[迟遲](几|幾|点|點)|下(个|個)?月(再|才|还|還|付"
    r"|缴|繳)|生病|住院|癌|手[术術]|去世|[过過]世"
    r"|[协協]商|[减減]免|少(还|還|付|缴|繳)|[资資]金[紧緊]|周[转轉]不|[发發](工[资資]|薪)"
)

_JUNK = re.compile(r"[\u200b-\u200f\u2060\ufe00-\ufe0f\ufeff\u00ad]")
_APOSTROPHE = re.compile(r"['’‘`´ʼ＇]")
_PUNCTUATION = re.compile(r"[^\w?]+|_+")
_HAN_GAP = re.compile(r"(?<=[\u3400-\u9fff]) (?=[\u3400-\u9fff])")
_HAN = re.compile(r"[\u3400-\u9fff]")


def classify(text: str) -> Reading:
    """What a reply wants. Opt-out wins over everything, need over "paid"; anything unclear is OTHER."""
    folded = fold(text)
    bare = folded.replace("?", "").strip()
    if "?" not in folded and bare in KEYWORDS:
        return Reading(KEYWORDS[bare], True)
    if bare in KEYWORDS and KEYWORDS[bare] is Intent.OPT_OUT:
        return Reading(Intent.OPT_OUT, False)
    if _wants_to_be_left_alone(folded):
        return Reading(Intent.OPT_OUT, False)
    if _STOP_WORD.search(folded):
        return Reading(Intent.OTHER, False)  # perhaps: a person decides, and nothing goes out until then
    if _HARDSHIP.search(folded):
        return Reading(Intent.HARDSHIP, False)
    if _PAID.search(folded) and not _NOT_PAID.search(folded):
        return Reading(Intent.PAID, False)
    return Reading(Intent.OTHER, False)


def fold(text: str) -> str:
    """Lower case, NFKC (so full-width letters become plain), no punctuation but question marks, single spaces."""
    text = _JUNK.sub("", unicodedata.normalize("NFKC", text)).casefold()
    text = _PUNCTUATION.sub(" ", _APOSTROPHE.sub("", text).replace("?", " ? "))
    words = text.split()
    if len(words) > 1 and all(len(word) == 1 and word.isascii() and word.isalpha() for word in words):
        return "".join(words)  # s t o p
    return _HAN_GAP.sub("", " ".join(words))


def _wants_to_be_left_alone(folded: str) -> bool:
    if _NOT_STOP.search(folded):
        return False
    if _STOP.search(folded):
        return True
    is_short = len(_HAN.findall(folded)) <= SHORT_HAN and len(folded.split()) <= SHORT_WORDS
    return is_short and _STOP_WORD.search(folded) is not None
