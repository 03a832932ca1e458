#!/usr/bin/env python3
"""Trains a small feed-forward network on the table `ledger/arrivals` and writes it as ONNX.

    tidewatch sql --format csv "select entity, period, due_at, not_before, seen_at, state
        from ledger.arrivals where source = 'eod_prices'" > arrivals.csv
    python arrival_onnx.py arrivals.csv arrival.onnx 48

Then `model = "arrival.onnx"` in the source's `[arrival]`, or `tidewatch arrival evaluate --model
arrival.onnx`. The last argument is the source's `give_up_after` in hours. Needs pandas, torch and onnx.

The network's rows are what Tidewatch computes for each span of a cell, as named in
crates/plan/src/arrival/external.rs; here they come from the table. It gives the rate per hour at which
data comes, and is fitted to the likelihood of what was seen: that data came in an interval, or did not
come before it was given up.
"""

import sys

import numpy as np
import pandas as pd
import torch

PERIODS = 10
HOURS = 0.5  # the width of a span in training; the rate does not depend on it


def cells(table, span):
    """One row a cell, with its interval in hours after it was due and what was known then."""
    for column in ("due_at", "not_before", "seen_at"):
        table[column] = pd.to_datetime(table[column], utc=True)
    hours = lambda column: (table[column] - table["due_at"]).dt.total_seconds() / 3600
    table["after"] = hours("not_before").fillna(0).clip(0, span)
    table["by"] = hours("seen_at").where(table["state"] == "arrived").clip(upper=span)
    table["span"] = span
    day = pd.to_datetime(table["period"])
    table["weekday"] = day.dt.dayofweek
    table["weekend"] = (day.dt.dayofweek >= 5).astype(float)
    table["month_begins"] = (day.dt.day <= 3).astype(float)
    table["month_ends"] = (day.dt.days_in_month - day.dt.day <= 2).astype(float)
    known = []
    for _, rows in table.sort_values("period").groupby("entity"):
        middle = ((rows["after"] + rows["by"]) / 2).to_numpy()
        for at in range(len(rows)):
            latest = middle[max(0, at - PERIODS) : at][::-1]
            came = latest[~np.isnan(latest)]
            row = rows.iloc[at]
            known.append(
                {
                    "after": row["after"],
                    "by": row["by"],
                    "span": row["span"],
                    "last_hours": came[0] if len(came) else -1.0,
                    "mean_hours": came.mean() if len(came) else -1.0,
                    "spread_hours": came.std() if len(came) else 0.0,
                    "never_share": 1 - len(came) / max(1, len(latest)),
                    "periods_seen": float(len(latest)),
                    "weekday": row["weekday"],
                    "weekend": row["weekend"],
                    "month_begins": row["month_begins"],
                    "month_ends": row["month_ends"],
                }
            )
    return pd.DataFrame(known)


COLUMNS = (
    "last_hours mean_hours spread_hours never_share periods_seen weekday weekend month_begins month_ends"
).split()


class Rate(torch.nn.Module):
    """Ten numbers to a rate per hour."""

    def __init__(self, mean, spread):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("spread", spread)
        self.inner = torch.nn.Sequential(
            torch.nn.Linear(12, 32), torch.nn.Tanh(), torch.nn.Linear(32, 16), torch.nn.Tanh(),
            torch.nn.Linear(16, 1), torch.nn.Softplus(),
        )

    def forward(self, rows):
        # How far a span lies from the last arrival and from the mean, beside the ten.
        to_last = rows[:, 0:1] - rows[:, 1:2]
        to_mean = rows[:, 0:1] - rows[:, 2:3]
        scaled = (rows - self.mean) / self.spread
        return self.inner(torch.cat([scaled, torch.tanh(to_last), torch.tanh(to_mean)], 1)).squeeze(1)


def main(table, file, hours="48"):
    torch.manual_seed(1)
    known = cells(pd.read_csv(table), float(hours))
    spans = int(np.ceil(known["span"].max() / HOURS))
    middles = (np.arange(spans) + 0.5) * HOURS
    features = known[COLUMNS].to_numpy(np.float32)
    rows = np.concatenate(
        [
            np.broadcast_to(middles[None, :, None], (len(known), spans, 1)),
            np.broadcast_to(features[:, None, :], (len(known), spans, len(COLUMNS))),
        ],
        2,
    ).astype(np.float32)
    rows = torch.tensor(rows)
    flat = rows.reshape(-1, rows.shape[2])
    model = Rate(flat.mean(0), flat.std(0) + 1e-3)

    # How much of each span lies before the interval, and within it; all of it if nothing came.
    begins = np.arange(spans) * HOURS
    part = lambda a, b: np.clip(np.minimum(b, begins + HOURS) - np.maximum(a, begins), 0, HOURS)
    came = known["by"].notna().to_numpy()
    after = np.where(came, known["after"], known["span"])
    before = torch.tensor(np.stack([part(0, a) for a in after]), dtype=torch.float32)
    within = torch.tensor(
        np.stack([part(a, b) if c else 0 * begins for a, b, c in zip(after, known["by"], came)]),
        dtype=torch.float32,
    )
    came = torch.tensor(came)

    def loss(at):
        rates = model(rows[at].reshape(-1, rows.shape[2])).reshape(len(at), spans)
        survived = -(rates * before[at]).sum(1)
        arrived = torch.log1p(-torch.exp(-(rates * within[at]).sum(1)).clamp(max=1 - 1e-6))
        return -(survived + torch.where(came[at], arrived, torch.zeros(()))).mean()

    cut = int(len(known) * 0.8)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for turn in range(30):
        for at in torch.randperm(cut).split(64):
            optimiser.zero_grad()
            loss(at).backward()
            optimiser.step()
        if turn % 10 == 9:
            with torch.no_grad():
                print(f"turn {turn + 1}: held back {loss(torch.arange(cut, len(known))):.3f} nats a cell")
    torch.onnx.export(
        model.eval(), (rows[0],), file, input_names=["spans"], output_names=["rate_per_hour"],
        dynamic_axes={"spans": {0: "n"}, "rate_per_hour": {0: "n"}}, dynamo=False,
    )
    print(f"wrote {file}")


if __name__ == "__main__":
    main(*sys.argv[1:4])
