"""What copy may not say, by language and reason. Data: the seed lists of the research notes (section 7.3).

English entries are lower case and match on word boundaries; Chinese entries are regular expressions over folded text.
Simplified and traditional forms stand side by side, since either can be pasted into the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    THREAT_OF_LAW = "threat of law"
    VIOLENCE = "threat of a visit or of violence"
    EXPOSURE = "exposure to others"
    FALSE_AUTHORITY = "false authority"
    FALSE_URGENCY = "false urgency"
    SHAME = "shame or blame"
    INFLATED = "inflated consequence"
    BORROW_OR_SELL = "push to borrow or sell"
    INSULT = "insult"
    DECEPTION = "deceptive hook"
    DARK_PATTERN = "dark pattern"
    PRIVACY = "debt fact in plain sight"
    JARGON = "jargon"
    SYMPATHY = "claimed sympathy or joke"
    CROSS_SALE = "offer of new credit"
    THIRD_PERSON = "about the customer instead of to them"
    DEADLINE = "deadline"
    CONSEQUENCE = "consequence"


@dataclass(frozen=True, slots=True)
class Advice:
    """The rule a reason belongs to (research notes, section 7.2), and what to write instead."""

    rule: str
    suggestion: str


ADVICE: Mapping[Reason, Advice] = {
    Reason.THREAT_OF_LAW: Advice(
        "C12", "Say what is owed and how to get help; words of law need an approved final message"
    ),
    Reason.VIOLENCE: Advice("C12", "Delete it; nobody is threatened or visited unasked"),
    Reason.EXPOSURE: Advice("C12", "Delete it; we speak to the customer and to nobody else"),
    Reason.FALSE_AUTHORITY: Advice("C01", "Write as the lender that the customer knows"),
    Reason.FALSE_URGENCY: Advice("C13", "Give the exact date instead; hurry is not a fact"),
    Reason.SHAME: Advice("C19", "Assume an oversight or a hard month; do not judge"),
    Reason.INFLATED: Advice("C12", "Say only what is true, dated and approved"),
    Reason.BORROW_OR_SELL: Advice("C20", "Offer a plan or a pause instead"),
    Reason.INSULT: Advice("C19", "Delete it"),
    Reason.DECEPTION: Advice("C02", "Say why you write"),
    Reason.DARK_PATTERN: Advice("C08", "Let people stop messages without a condition"),
    Reason.PRIVACY: Advice("C10", "Subjects, titles and lock screens are read by others: keep the debt out"),
    Reason.JARGON: Advice("C16", "Use an everyday word"),
    Reason.SYMPATHY: Advice("C19", "Offer help instead of claiming a feeling"),
    Reason.CROSS_SALE: Advice("C20", "A reminder sells nothing"),
    Reason.THIRD_PERSON: Advice("C15", "Write 'you'"),
    Reason.DEADLINE: Advice("C13", "Put it inside {% if deadline_on %} and name that date"),
    Reason.CONSEQUENCE: Advice("C12", "Put it inside {% if report_on %} or {% if deadline_on %} and name that date"),
}

#: Reasons that stop a message at the last look as well, whatever brought the words in.
STOPPED_AT_SEND = frozenset({
    Reason.THREAT_OF_LAW, Reason.VIOLENCE, Reason.EXPOSURE, Reason.FALSE_AUTHORITY, Reason.FALSE_URGENCY, Reason.SHAME,
    Reason.INFLATED, Reason.BORROW_OR_SELL, Reason.INSULT, Reason.DECEPTION, Reason.DARK_PATTERN,
})  # fmt: skip

#: Reasons that an approved message of the final stage may use.
APPROVABLE = frozenset({Reason.THREAT_OF_LAW, Reason.FALSE_AUTHORITY})

ENGLISH: Mapping[Reason, tuple[str, ...]] = {
    Reason.THREAT_OF_LAW: (
        "legal action", "legal proceedings", "we will sue", "sue you", "lawsuit", "court", "summons", "arrest",
        "arrested", "jail", "prison", "criminal", "fraud charge", "police", "bailiff", "bailiffs", "warrant", "seize",
        "seizure", "garnish", "garnishment", "prosecute", "prosecution", "final notice", "final warning",
        "last chance", "last warning",
    ),
    Reason.VIOLENCE: (
        "come to your home", "visit your home", "at your door", "watch out", "or else", "we know where you",
    ),
    Reason.EXPOSURE: (
        "your employer", "your boss", "your family", "your friends", "your contacts", "your colleagues",
        "your neighbours", "your neighbors", "post publicly", "blacklist", "blacklisted", "name and shame",
        "everyone will know",
    ),
    Reason.FALSE_AUTHORITY: (
        "ministry", "court of", "sheriff", "department of justice", "case number", "enforcement officer", "attorney",
        "law office", "tribunal",
    ),
    Reason.FALSE_URGENCY: (
        "immediately", "immediate payment", "urgent", "urgently", "act now", "pay now", "right now",
        "within 24 hours", "within 48 hours", "today only", "time is running out", "before it is too late",
        "expires tonight", "asap",
    ),
    Reason.SHAME: (
        "shame", "ashamed", "shameful", "irresponsible", "dishonest", "deadbeat", "refuse to pay", "refused to pay",
        "refusing to pay", "ignored us", "ignoring us", "failed to", "failure to", "your fault", "broken promise",
        "broke your promise", "disappointed in you", "you people", "honourable people",
    ),
    Reason.INFLATED: (
        "ruin your credit", "ruined credit", "destroy", "never get a loan", "permanent record", "lose your home",
        "for the rest of your life",
    ),
    Reason.BORROW_OR_SELL: (
        "borrow from", "borrow money", "take a loan", "take out a loan", "use another card", "sell your",
        "cash advance",
    ),
    Reason.INSULT: (
        "idiot", "stupid", "scum", "liar", "thief", "loser", "damn", "bastard",
    ),
    Reason.DECEPTION: (
        "you have a parcel", "missed delivery", "prize", "you have won", "refund waiting", "account suspended",
        "suspicious activity",
    ),
    Reason.DARK_PATTERN: (
        "click to avoid", "confirm to stop calls", "pay to unsubscribe",
    ),
    Reason.PRIVACY: (
        "debt", "debts", "overdue", "past due", "arrears", "collection", "collections", "loan", "default",
        "repayment", "repay", "owe", "owed", "owing", "delinquent", "delinquency", "balance due", "missed payment",
        "late payment", "amount due", "payment",
    ),
    Reason.JARGON: (
        "pursuant", "hereby", "herein", "hereinafter", "remit", "remittance", "delinquent", "accelerate",
        "acceleration", "tranche", "rehabilitation", "dpd", "write-off", "charge-off", "aforementioned",
        "outstanding indebtedness", "commence", "in the event that", "prior to",
    ),
    Reason.SYMPATHY: (
        "we know how you feel", "we understand how you feel", "we feel your pain", "don't worry, be happy", "oops",
        "uh-oh", "hey there", "gonna", "wanna", "no biggie", "lol",
    ),
    Reason.CROSS_SALE: (
        "new loan", "new card", "apply for", "pre-approved", "preapproved", "special rate", "increase your limit",
        "higher limit", "top up your", "discount code", "bonus", "cashback", "limited offer",
    ),
    Reason.THIRD_PERSON: (
        "the debtor", "debtor", "the customer", "the borrower", "the account holder", "the cardholder",
    ),
    Reason.DEADLINE: (
        "deadline", "no later than", "by the latest", "pay by", "reply by", "expires on", "until then", "valid until",
    ),
    Reason.CONSEQUENCE: (
        "credit bureau", "credit record", "credit report", "credit file", "late fee", "late fees", "penalty",
        "consequence", "consequences", "suspend your", "close your account",
    ),
}  # fmt: skip

CHINESE: Mapping[Reason, tuple[str, ...]] = {
    Reason.THREAT_OF_LAW: (
        "起诉|起訴", "诉讼|訴訟", "立案", "报案|報案", "报警|報警", "刑事", "坐牢", "拘留", "逮捕", "传唤|傳喚",
        "强制执行|強制執行", "查封", "冻结|凍結", "法务部|法務部", "律师|律師", "最后通牒|最後通牒",
        "后果自负|後果自負", "追究", "移交司法", "法律责任|法律責任", "法律手段", "法律程序", "司法程序",
    ),
    Reason.VIOLENCE: (
        "上门|上門", "找你", "堵门|堵門", "等着瞧|等著瞧", "给我等着|給我等著", "小心点|小心點", "别怪|別怪",
        "收拾你", "不客气|不客氣",
    ),
    Reason.EXPOSURE: (
        "通讯录|通訊錄", "(?:紧急|緊急|你的|您的|通知)(?:联系人|聯絡人)(?!工)", "家人", "亲友|親友", "父母",
        "(?:你|您的?|工作)(?:单位|單位)", "公司领导|公司領導|公司主管", "同事", "村委", "户籍地|戶籍地", "曝光",
        "公示", "朋友圈", "群发|群發",
    ),
    Reason.FALSE_AUTHORITY: (
        "公安", "派出所", "法院", "检察院|檢察院|檢察署", "司法局", "仲裁", "银保监|銀保監", "央行", "金管会|金管會",
        "征信中心|聯徵中心", "调解中心|調解中心", "警察局",
    ),
    Reason.FALSE_URGENCY: (
        "立即", "马上|馬上", "立刻", "务必|務必", "限时|限時", "今日内|今日內",
        "(?:24|48|二十四|四十八)(?:小时|小時)(?:内|內)", "最后一次|最後一次", "最后机会|最後機會", "逾期不候",
        "否则|否則", "赶紧|趕緊", "火速", "刻不容缓|刻不容緩",
    ),
    Reason.SHAME: (
        "老赖|老賴", "失信", "天经地义|天經地義", "无赖|無賴", "不要脸|不要臉", "恶意拖欠|惡意拖欠",
        "恶意逃废|惡意逃廢", "不讲信用|不講信用", "丢人|丟人", "良心", "羞耻|羞恥", "不负责任|不負責任",
        "拒不还款|拒不還款",
    ),
    Reason.INFLATED: (
        "黑名单|黑名單", "影响一生|影響一生", "影响子女|影響子女", "不能坐飞机|不能坐飛機", "全网封杀|全網封殺",
        "终身|終身", "倾家荡产|傾家蕩產",
    ),
    Reason.BORROW_OR_SELL: (
        "(?:找|向|跟)?(?:亲友|親友|朋友)借", "再贷一笔|再貸一筆", "以贷还贷|以貸還貸", "套现|套現", "变卖|變賣",
        "卖掉|賣掉", "卖房|賣房",
    ),
    Reason.INSULT: (
        "混蛋", "骗子|騙子", "废物|廢物", "垃圾", "白痴|白癡", "傻瓜",
    ),
    Reason.DECEPTION: (
        "快递|快遞|包裹", "中奖|中獎", "退款", "补贴|補貼", "(?:银行卡|銀行卡|账户|帳戶)(?:将|將)?(?:停用|冻结|凍結)",
        "账户异常|帳戶異常",
    ),
    Reason.DARK_PATTERN: (
        "付款后(?:方可|才能)退订|付款後(?:方可|才能)退訂",
    ),
    Reason.PRIVACY: (
        "欠款|欠費|欠缴", "逾期", "催收", "催缴|催繳", "还款|還款", "贷款|貸款", "借款", "账户异常|帳戶異常",
        "违约|違約", "账单|帳單", "缴款|繳款", r"\d[\d,.]*\s*元",
    ),
    Reason.JARGON: (
        r"M\d(?!\w)", "逾期天数|逾期天數", "核销|核銷", "本息合计|本息合計", "敬请知悉|敬請知悉", "特此告知|特此通知",
        "贵户|貴戶", "债务人|債務人", "承担相应|承擔相應", "兹|茲", "届时|屆時",
    ),
    Reason.SYMPATHY: (
        "感同身受", "我们懂你|我們懂你", "亲爱的|親愛的", "亲[,，~]|親[,，~]", "哈哈", "么么哒",
    ),
    Reason.CROSS_SALE: (
        "提额|提額", "提高额度|提高額度", "新贷款|新貸款", "再借", "优惠券|優惠券", "免息券", "预审批|預審批",
        "申请新卡|申請新卡", "红包|紅包",
    ),
    Reason.THIRD_PERSON: (
        "债务人|債務人", "该客户|該客戶", "借款人", "持卡人",
    ),
    Reason.DEADLINE: (
        "截止", "最晚", "最迟|最遲", "(?:请|請)于.{1,12}(?:前|之前)", "[月日号號](?:之)?前(?!往|台|臺)", "期限",
    ),
    Reason.CONSEQUENCE: (
        "征信|徵信", "信用(?:记录|紀錄|記錄)", "滞纳金|滯納金", "违约金|違約金", "罚息|罰息",
        "(?:暂停|暫停)(?:使用|服务|服務)", "后果|後果",
    ),
}  # fmt: skip
