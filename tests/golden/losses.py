#!/usr/bin/env python3
"""Prints the rows of test_train.c: preference losses and their derivatives by PyTorch's autograd in float64, and
learning rates by transformers' schedulers."""
import torch
import torch.nn.functional as F
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

BETA = 0.3
for h in (-30.0, -1.5, 0.0, 0.3, 2.0, 40.0, 800.0, -800.0):
    for eps in (0.0, 0.1):
        x = torch.tensor(h, dtype=torch.float64, requires_grad=True)
        losses = [
            -(1 - eps) * F.logsigmoid(x) - eps * F.logsigmoid(-x),
            (x / BETA - 1 / (2 * BETA)) ** 2,
            torch.relu(1 - x),
            (-(1 - eps) * F.logsigmoid(x) + eps * F.logsigmoid(-x)) / (1 - 2 * eps),
        ]
        slopes = [torch.autograd.grad(loss, x)[0].item() for loss in losses]
        row = lambda v: ", ".join("%.17g" % a for a in v)
        print("{%g, %g, {%s}, {%s}}," % (h, eps, row([loss.item() for loss in losses]), row(slopes)))
parameter = torch.nn.Parameter(torch.zeros(1))
for schedule in (get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup):
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    scheduler = schedule(optimizer, 3, 10)
    rates = []
    for _ in range(10):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    print(rates)
