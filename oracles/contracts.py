#!/usr/bin/env python3
"""Writes examples/contracts/documents and labels.jsonl's answers: short contracts in English and Chinese, made up for the project.

  oracles/contracts.py DIR      documents into DIR/documents, what each sentence is into DIR/answers.json
  oracles/contracts.py --triples CANDIDATES.jsonl > triples.jsonl
                                every third of the candidates of `label distant` and all openings, as a person leaves them: `contract` is
                                meant where it is this one ("this contract", "本合同"), not in titles and not where any contract is

Every sentence is a clause of one kind; which sentences a contract has, and the numbers in them, follow from its number alone.
"""
import json
import pathlib
import sys

ENGLISH = {
    "payment": [
        "The buyer pays each invoice within {n} days of receipt by transfer to the account named on it.",
        "The rent of {m} euros is due in advance on the third working day of each month.",
        "Half of the price is payable on signature, the other half after acceptance of the goods.",
        "If payment is late by more than {n} days, interest of five percent above the base rate is charged.",
        "A deposit of {m} euros is to be paid before the work begins and is set off against the final invoice.",
        "Prices include packing and exclude value added tax, which is invoiced separately.",
    ],
    "termination": [
        "Either party may terminate this contract in writing with {n} days' notice to the end of a quarter.",
        "The contract ends without notice when the term of {n} months has expired.",
        "If a party breaches its duties in spite of a warning, the other may withdraw from the contract at once.",
        "Notice of termination must be signed by hand; an e-mail is not enough.",
        "After the end of the contract all documents and keys are to be returned within {n} days.",
        "The right to terminate for good cause remains unaffected.",
    ],
    "liability": [
        "The supplier is liable without limit for intent and gross negligence only.",
        "Liability for lost profit and indirect damage is excluded.",
        "The total liability of the contractor is limited to {m} euros for each event of damage.",
        "The tenant answers for damage to the premises that goes beyond ordinary wear.",
        "Claims for defects expire {n} months after delivery.",
        "The carrier compensates the loss of goods up to their market value at the place of dispatch.",
    ],
    "confidentiality": [
        "The parties keep all business secrets of the other confidential, also after the end of the contract.",
        "Documents marked as confidential may not be shown to third parties without written consent.",
        "The duty of secrecy lasts for {n} months after the contract has ended.",
        "Employees who receive confidential information are to be bound to secrecy in writing.",
        "Information that was public already is not subject to the duty of secrecy.",
        "For each breach of secrecy a penalty of {m} euros is due.",
    ],
    "law": [
        "This contract is governed by the law of Ireland, excluding the law on the international sale of goods.",
        "The courts of Hamburg have exclusive jurisdiction over all disputes arising from this contract.",
        "Disputes are settled finally by arbitration under the rules of the chamber of commerce.",
        "If a provision of this contract is void, the remaining provisions stay in force.",
        "Changes to this contract must be made in writing; this also applies to this clause.",
        "The place of performance for all duties is the registered office of the supplier.",
    ],
}
CHINESE = {
    "payment": [
        "甲方应当在收到发票后{n}日内以银行转账方式支付全部价款。",
        "租金为每月{m}元，应当在每月第三个工作日之前预付。",
        "合同签订时支付价款的一半，货物验收合格后支付其余部分。",
        "逾期付款超过{n}日的，按照基准利率上浮五个百分点计收利息。",
        "开工之前应当交纳定金{m}元，定金在最后一期价款中抵扣。",
        "上述价格包含包装费用，不含增值税，增值税另行开具发票。",
    ],
    "termination": [
        "任何一方均可提前{n}日书面通知对方解除本合同。",
        "合同期限为{n}个月，期满后本合同自动终止。",
        "一方违反义务，经催告仍不改正的，另一方有权立即解除合同。",
        "解除通知应当由当事人亲笔签名，以电子邮件发出的无效。",
        "合同终止后{n}日内，应当归还全部文件和钥匙。",
        "因重大事由解除合同的权利不受影响。",
    ],
    "liability": [
        "供方仅对故意和重大过失造成的损害承担无限责任。",
        "双方对利润损失和间接损失不承担赔偿责任。",
        "承包方对每次损害事件的赔偿总额以{m}元为限。",
        "承租人对超出正常损耗的房屋损坏承担赔偿责任。",
        "质量缺陷的索赔期限为交货后{n}个月。",
        "承运人对货物灭失的赔偿以起运地市场价值为限。",
    ],
    "confidentiality": [
        "双方应当对对方的全部商业秘密予以保密，合同终止后亦同。",
        "未经书面同意，不得向第三方出示标有保密字样的文件。",
        "保密义务在合同终止后继续有效{n}个月。",
        "接触保密信息的员工应当签署书面保密承诺。",
        "已经公开的信息不属于保密义务的范围。",
        "每违反一次保密义务，应当支付违约金{m}元。",
    ],
    "law": [
        "本合同适用中华人民共和国法律。",
        "因本合同产生的争议由合同签订地人民法院专属管辖。",
        "争议应当提交仲裁委员会按照其规则作出终局裁决。",
        "本合同部分条款无效的，不影响其余条款的效力。",
        "对本合同的修改应当采用书面形式，本条款亦同。",
        "全部义务的履行地为供方注册地。",
    ],
}
# What a clause ends with: the same clause in four contracts of a language is four sentences.
ENDS = ["", ", as annex 2 sets out in detail", ", unless the parties agree otherwise in writing", " from the date of signature on"]
CHINESE_ENDS = ["", "，具体内容见附件二", "，双方另有书面约定的除外", "，自签字之日起适用"]
PARTIES = [("Alder Timber Ltd", "Birch & Sons"), ("Cedar Foods plc", "Dune Logistics"), ("Elm Software", "Fjord Hotels"), ("Glen Metals", "Heath Clinics")]
COMPANIES = [("北方木业有限公司", "河畔家具厂"), ("晨光食品有限公司", "远山物流公司"), ("云杉软件公司", "海湾酒店"), ("青石金属厂", "松林诊所")]
KINDS = ["supply", "lease", "service", "carriage"]
SORTS = ["供货", "租赁", "服务", "运输"]
NUMBERS = [10, 14, 21, 30, 42, 60]


def contract(number):
    """`(title, opening, [(class, sentence)])`."""
    chinese = number % 2 == 1
    clauses, i = (CHINESE if chinese else ENGLISH), number // 2
    a, b = (COMPANIES if chinese else PARTIES)[i % 4]
    if chinese:
        title, opening = f"{SORTS[(i + i // 4) % 4]}合同第{101 + number}号", f"甲方为{a}，乙方为{b}。"
    else:
        title, opening = f"Contract of {KINDS[(i + i // 4) % 4]} No. {101 + number}", f"This contract is made between {a} and {b}."
    body = []
    for c, (kind, texts) in enumerate(clauses.items()):
        for k in range(2):
            text = texts[(i + c + 3 * k) % len(texts)]
            end = (CHINESE_ENDS if chinese else ENDS)[2 * k + i // 6]
            text = text[:-1] + end + text[-1]
            body.append((kind, text.format(n=NUMBERS[(i + 2 * c + k) % 6], m=f"{100 * (number + c + 3) + 50 * k:,}")))
    # A contract begins where another ends.
    turn = (3 * i) % len(body)
    return title, opening, body[turn:] + body[:turn]


def this_one(text, span):
    """Whether a span says the contract that it stands in."""
    before = text[: span["start"]].lower()
    return span["label"] != "document" or span["text"].lower() not in ("contract", "合同") or before.endswith(("this ", "本"))


def triples(path):
    for i, line in enumerate(open(path, encoding="utf8")):
        row = json.loads(line)
        opening = any(s["label"] == "party" for s in row["spans"])
        if i % 3 and not opening:
            continue
        spans = [s for s in row["spans"] if this_one(row["text"], s)]
        ids = {s["id"] for s in spans}
        relations = [r for r in row.get("relations", []) if all(a["id"] in ids for a in r["args"])]
        kept = {"id": row["id"], "text": row["text"], "spans": spans, "relations": relations, "source": row["source"], "document": row["document"]}
        print(json.dumps(kept, ensure_ascii=False))


def main():
    if sys.argv[1] == "--triples":
        return triples(sys.argv[2])
    out = pathlib.Path(sys.argv[1])
    folder = out / "documents"
    folder.mkdir(parents=True, exist_ok=True)
    answers = {}
    for number in range(24):
        title, opening, body = contract(number)
        answers |= {title: "other", opening: "other"} | {text: kind for kind, text in body}
        name = f"{101 + number}"
        paragraphs = [opening] + [text for _, text in body]
        if number % 3 == 0:
            (folder / f"{name}.md").write_text(f"# {title}\n\n" + "\n\n".join(paragraphs) + "\n", encoding="utf8")
        elif number % 3 == 1:
            encoding = "gb18030" if number % 2 == 1 else "utf-8"
            (folder / f"{name}.txt").write_text(f"{title}\n\n" + "\n\n".join(paragraphs) + "\n", encoding=encoding)
        else:
            rows = "\n".join(f"<p>{p.replace('&', '&amp;')}</p>" for p in paragraphs)
            page = f'<!DOCTYPE html>\n<html><head><meta charset="utf-8"><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n{rows}\n</body></html>\n'
            (folder / f"{name}.html").write_text(page, encoding="utf8")
    (out / "answers.json").write_text(json.dumps(answers, ensure_ascii=False, indent=0) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
