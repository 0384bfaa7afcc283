import json, sys, collections
from pathlib import Path
d = Path(sys.argv[1]); top = int(sys.argv[2]) if len(sys.argv) > 2 else 30
parts = sys.argv[3:]
T = 0; files = collections.Counter(); tests = collections.Counter(); fx = []; n = collections.Counter()
for p in sorted(d.glob("*.jsonl")):
    if parts and p.stem not in parts: continue
    s = 0
    for line in p.open():
        r = json.loads(line); c = r["self"] + r["kids"]
        if r["kind"] == "total": s += c
        elif r["kind"] in ("setup", "call", "teardown"):
            f = r["name"].split("::")[0]; files[f] += c; tests[r["name"] + (" [setup]" if r["kind"] == "setup" else " [td]" if r["kind"]=="teardown" else "")] += c; n[f] += r["kind"] == "call"
        elif r["kind"] == "fixture": fx.append((c, r["name"], r.get("at")))
        elif r["kind"] in ("collection", "start"): print(p.stem, r["kind"], round(c, 1))
    print(p.stem, "total", round(s, 1)); T += s
print("TOTAL", round(T, 1))
for f, c in files.most_common(top): print(f"{c:7.1f} {n[f]:5d} {f}")
print()
for f, c in tests.most_common(top * 2): print(f"{c:7.2f} {f[:170]}")
print()
for c, f, at in sorted(fx, reverse=True)[:top]: print(f"{c:7.2f} {f} {at}")
