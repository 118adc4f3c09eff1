"""The command: `python -m worker.engine.distill --teacher FILE --images FOLDER --out STUDENT.safetensors`."""

import argparse
import math
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from worker.engine.distill.data import load_pictures
from worker.engine.distill.export import Provenance, export
from worker.engine.distill.teacher import load_teacher, sha256
from worker.engine.distill.train import Errors, Plan, fresh, train
from worker.engine.vgg import LAYOUTS, VGG


def arguments() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m worker.engine.distill",
        description="Teach a small VGG a larger network's features.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--teacher",
        type=Path,
        required=True,
        help="torchvision's vgg19 or vgg16 (.pth, .safetensors), or a Collaborative Distillation encoder",
    )
    parser.add_argument(
        "--images", type=Path, required=True, help="a folder of pictures; a tenth is held out"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="the .safetensors to write, a .json beside it"
    )
    parser.add_argument("--student", choices=sorted(LAYOUTS), default="compact", help="the student's layout")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--crop", type=int, default=96, help="side of the square crops, px")
    parser.add_argument("--batch", type=int, default=16, help="crops a step")
    parser.add_argument("--lr", type=float, help="learning rate, if not the learner's own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--report-every", type=int, default=500, help="steps between checkpoints and reports")
    parser.add_argument("--time-limit", type=float, default=math.inf, help="seconds after which to stop")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint beside --out")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Train and export. Exit status 0: the plan's end was reached; 3: stopped by the time limit."""
    parser = arguments()
    options = parser.parse_args(argv)
    checkpoint = options.out.with_suffix(".checkpoint.pt")
    if checkpoint.exists() and not options.resume:
        parser.error(f"{checkpoint} exists: --resume goes on from it; remove it to begin anew")
    torch.set_num_threads(options.threads)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    plan = Plan(steps=options.steps, crop=options.crop, batch=options.batch, lr=options.lr, seed=options.seed)
    student = VGG(LAYOUTS[options.student])
    teacher = load_teacher(options.teacher, pooling=student.pooling, padding=student.padding)
    pictures = load_pictures(options.images, plan.crop)
    provenance = Provenance(
        teacher=options.teacher.name,
        teacher_sha256=sha256(options.teacher),
        training_pictures=len(pictures.training),
        held_out_pictures=len(pictures.held_out),
    )
    distillation = fresh(student, teacher, pictures, plan)
    # Convolutions of few channels run a quarter faster with channels last on CPUs (measured on two cores).
    distillation.to(memory_format=torch.channels_last)
    teacher.to(memory_format=torch.channels_last)

    def report(done: int, errors: Errors) -> None:
        export(options.out, distillation, plan, provenance, done, errors)
        layers = "  ".join(f"{name} {error:.4f}" for name, error in errors.items())
        tqdm.write(f"step {done}, held out: {layers}")

    finished = train(
        distillation,
        teacher,
        pictures,
        plan,
        checkpoint,
        report,
        report_every=options.report_every,
        time_limit=options.time_limit,
    )
    return 0 if finished else 3


if __name__ == "__main__":
    sys.exit(main())
