"""Writes metrics.json beside this file: scores by scikit-learn of made-up outputs.

Needs numpy and scikit-learn; values are rounded to float32, which is what a model's outputs are.
"""
import json
import pathlib

import numpy as np
import sklearn
from sklearn import metrics as m

rng = np.random.default_rng(7)
ROWS = 61


def f32(array):
    return np.asarray(array, dtype=np.float32)


def nested(array):
    return [float(value) for value in np.ravel(array)]


def scores(target, predicted, averages):
    of = {"precision": m.precision_score, "recall": m.recall_score, "f1": m.f1_score}
    return {
        name: {a: float(score(target, predicted, average=a, zero_division=0)) for a in averages}
        for name, score in of.items()
    }


def softmax(x):
    e = np.exp(x.astype(np.float64) - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def multiclass():
    classes = 7
    target = rng.integers(0, 5, ROWS)  # classes 5 and 6 never occur as targets
    logits = f32(rng.normal(size=(ROWS, classes)))
    logits[np.arange(ROWS), target] += 1.0
    logits[:, 6] -= 30.0  # class 6 is never predicted either
    predicted = logits.argmax(axis=1)
    labels = np.arange(classes)
    cross = -np.log(softmax(logits)[np.arange(ROWS), target])
    probability = softmax(logits)
    occurs = [c for c in labels if (target == c).any()]
    areas = [m.roc_auc_score(target == c, probability[:, c]) for c in occurs]
    weights = [(target == c).sum() for c in occurs]
    return {
        "logits": nested(logits),
        "target": target.tolist(),
        "accuracy": float(m.accuracy_score(target, predicted)),
        **scores(target, predicted, ["macro", "weighted", "micro"]),
        "confusionMatrix": m.confusion_matrix(target, predicted, labels=labels).tolist(),
        "topK": {str(k): float(m.top_k_accuracy_score(target, logits, k=k, labels=labels)) for k in (1, 2, 5)},
        "rocAuc": {"macro": float(np.mean(areas)), "weighted": float(np.average(areas, weights=weights))},
        "perplexity": float(np.exp(cross.mean())),
    }


def multiclass_auc():
    """Every class occurs, so that scikit-learn itself averages one against the rest."""
    classes = 4
    target = np.arange(ROWS) % classes
    logits = f32(rng.normal(size=(ROWS, classes)))
    logits[np.arange(ROWS), target] += 0.7
    probability = f32(softmax(logits)).astype(np.float64)
    probability /= probability.sum(axis=1, keepdims=True)
    return {
        "logits": nested(logits),
        "target": target.tolist(),
        "rocAuc": {
            a: float(m.roc_auc_score(target, probability, multi_class="ovr", average=a))
            for a in ("macro", "weighted")
        },
    }


def binary():
    target = (rng.random(ROWS) < 0.3).astype(int)
    # coarse, so that there are ties
    logit = f32(np.round(rng.normal(size=ROWS) + target, 1) + 0.05)
    predicted = (logit > 0).astype(int)
    return {
        "logits": nested(logit),
        "target": target.tolist(),
        **scores(target, predicted, ["binary", "macro", "weighted", "micro"]),
        "confusionMatrix": m.confusion_matrix(target, predicted).tolist(),
        "rocAuc": float(m.roc_auc_score(target, logit)),
    }


def multilabel():
    labels = 3
    target = (rng.random((ROWS, labels)) < [0.2, 0.5, 0.7]).astype(int)
    logit = f32(rng.normal(size=(ROWS, labels)) + target)
    predicted = (logit > 0).astype(int)
    return {
        "logits": nested(logit),
        "target": np.ravel(target).tolist(),
        **scores(target, predicted, ["macro", "weighted", "micro"]),
        "rocAuc": {a: float(m.roc_auc_score(target, logit, average=a)) for a in ("macro", "weighted")},
    }


def regression():
    columns = 2
    # far from zero: sums of squares would lose the variance
    target = f32(rng.normal(size=(ROWS, columns)) * [1.0, 3.0] + [1000.0, -5.0])
    output = f32(target + rng.normal(size=(ROWS, columns)))
    t, y = target.astype(np.float64), output.astype(np.float64)
    return {
        "output": nested(output),
        "target": nested(target),
        "mae": float(m.mean_absolute_error(t, y)),
        "rmse": float(np.sqrt(m.mean_squared_error(t, y))),
        "r2": float(m.r2_score(t, y)),
    }


golden = {
    "from": f"scikit-learn {sklearn.__version__}",
    "rows": ROWS,
    "multiclass": multiclass(),
    "multiclassAuc": multiclass_auc(),
    "binary": binary(),
    "multilabel": multilabel(),
    "regression": regression(),
}
path = pathlib.Path(__file__).with_name("metrics.json")
path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
