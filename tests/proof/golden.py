#!/usr/bin/env python3
"""Writes the golden export and its checkpoints from docs/proof.md alone, sharing no code with makegood: needs `cryptography`."""
import base64
import hashlib
import json
import pathlib
import struct
import uuid
from datetime import datetime, timezone

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

here = pathlib.Path(__file__).parent


def fields(*parts):
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha(data):
    return hashlib.sha256(data).digest()


def i64(number):
    return struct.pack(">q", number)


def micros(text):
    return int(datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(timezone.utc).timestamp()) * 10**6


ACCOUNT = uuid.UUID(int=0x11)
AT = "2026-11-03T20:00:00Z"
rows = []
for number, (event, debit, credit, minor) in enumerate(
    [
        ("issued", "SLA", "OWED", 2174),
        ("issued", "TAX_PENDING", "OWED", 326),
        ("applied", "OWED", "BILLING", 2174),
        ("applied", "OWED", "TAX_PENDING", 326),
    ]
):
    rows.append(
        ("transfer", uuid.UUID(int=0x100 + number), {
            "document": str(uuid.UUID(int=0x99)), "event": event, "debit": debit, "credit": credit,
            "amount_minor": minor, "currency": "NZD", "reason": "sla_tier", "effective_on": "2026-10-31",
            "recorded_at": AT,
        })
    )
    rows.append(
        ("audit", uuid.UUID(int=0x200 + number), {
            "recorded_at": AT, "actor": "staff|wiremu", "action": f"credit.{event}", "subject": "crd",
            "detail": {"gross_minor": 2500, "cause": "claim:é"},
            **({"context": {"request": f"request-{number}"}} if number % 2 else {}),
        })
    )


def encode(kind, row, body):
    if kind == "transfer":
        return fields(
            b"transfer/1", ACCOUNT.bytes, row.bytes, uuid.UUID(body["document"]).bytes, body["event"].encode(),
            body["debit"].encode(), body["credit"].encode(), i64(body["amount_minor"]), body["currency"].encode(),
            body["reason"].encode(), body["effective_on"].encode(), i64(micros(body["recorded_at"])),
        )
    context = [canonical(body["context"]).encode()] if "context" in body else []
    return fields(
        b"audit/2" if context else b"audit/1", ACCOUNT.bytes, row.bytes, i64(micros(body["recorded_at"])),
        body["actor"].encode(), body["action"].encode(), body["subject"].encode(), canonical(body["detail"]).encode(),
        *context,
    )


ITEMS = [("issue", {"id": "crd_1", "gross": "25.00"}), ("cancel", {"id": "crd_1"})]
key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

lines, marks = [{"line": "begin", "format": "makegood.chain/1", "at": AT}], []
chain, feed, totals, pos = bytes(32), bytes(32), {"transfers": 0, "audits": 0, "sums": {}}, 0
entries = []
for number, (kind, row, body) in enumerate(rows, 1):
    chain = sha(chain + encode(kind, row, body))
    entries.append({
        "line": "entry", "lane": 0, "no": number, "kind": kind, "account": str(ACCOUNT), "id": str(row),
        "hash": chain.hex(), "row": {kind: body},
    })
    if kind == "transfer":
        totals["transfers"] += 1
        totals["sums"]["NZD"] = totals["sums"].get("NZD", 0) + body["amount_minor"]
    else:
        totals["audits"] += 1
    if number in (4, 8):
        op, item = ITEMS[pos]
        pos += 1
        feed = sha(feed + i64(pos) + op.encode() + b"\0" + canonical(item).encode())
        entries.append({"line": "item", "lane": 0, "pos": pos, "op": op, "hash": feed.hex(), "body": item})
        marks.append({
            "lane": 0, "epoch": 1, "chain_no": number, "chain_hash": chain.hex(), "feed_pos": pos, "feed_hash": feed.hex(),
            "transfers": totals["transfers"], "audits": totals["audits"],
            "sums": {code: str(total) for code, total in totals["sums"].items()},
        })
lines += [one for one in entries if one["line"] == "entry"] + [one for one in entries if one["line"] == "item"]
head = {**marks[-1], "transfers": 0, "audits": 0, "sums": {}}
lines.append({"line": "end", "lanes": [head], "waiting": 0, "outside": 0})
(here / "golden.ndjson").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))

previous, text = bytes(32), ""
for number, mark in enumerate(marks, 1):
    leaf = fields(
        b"lane/1", struct.pack(">h", 0), struct.pack(">i", mark["epoch"]), i64(mark["chain_no"]),
        bytes.fromhex(mark["chain_hash"]), i64(mark["feed_pos"]), bytes.fromhex(mark["feed_hash"]),
    )
    checkpoint = {
        "format": "makegood.checkpoint/1", "no": number, "at": AT, "lanes": [mark], "root": sha(b"\0" + leaf).hex(),
        "previous": previous.hex(), "key": sha(public)[:8].hex(),
    }
    signature = key.sign(canonical(checkpoint).encode())
    line = canonical({**checkpoint, "signature": base64.b64encode(signature).decode()})
    previous = sha(line.encode())
    text += line + "\n"
(here / "golden.checkpoints.ndjson").write_text(text)
(here / "golden.pub.pem").write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
print(chain.hex())
