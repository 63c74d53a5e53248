"""What clients saw (connecting.py) while agents were killed: connecting_judge.py LOG KILLS

KILLS has a line for each agent that was killed: when, by the monotonic clock. No connect may fail;
an answer may, over a connection that the killed agent had accepted.
"""
import sys

kills = [float(line) for line in open(sys.argv[2])]
lines = [line.split(None, 3) for line in open(sys.argv[1])]
bad = cut = 0
for begun, connected, ended, outcome in lines:
    if outcome.strip() == "ok":
        continue
    # the agent has accepted it before the client knows, so by when it was begun
    if outcome.startswith("answer") and any(float(begun) < kill < float(ended) for kill in kills):
        cut += 1
        continue
    bad += 1
    print("FAIL:", begun, connected, ended, outcome.strip())
took = [float(connected) - float(begun) for begun, connected, _, outcome in lines
        if outcome.strip() == "ok"]
print(f"{len(kills)} kills, {len(lines)} connects, {bad} failed; the slowest took {max(took):.2f} s; "
      f"{cut} answers ended with the agent that gave them")
sys.exit(1 if bad else 0)
