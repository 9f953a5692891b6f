"""What `on_bad: skip` leaves out is counted and named by `plan` and `run`, as `data check` does."""

from __future__ import annotations

import io

import rich.console

from stagetrain.cli import plan as plan_verb
from tests.fakes.project import Project


def test_what_is_left_out_is_named_with_the_command_that_lists_all(project: Project) -> None:
    path = project.folder / 'data' / 'Annotations' / 'a.xml'
    faulty = '<object><name>thing</name><bndbox><xmin>9</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox></object>'
    path.write_text(path.read_text().replace('</annotation>', f'{faulty}</annotation>'))
    plan = project.plan('data.on_bad=skip')
    (text,) = plan.remarks()
    head, kind, cause, item, command = text.split('\n')
    assert head == 'data.train: 1 boxes or images are left out:'
    assert kind == '  1 x inverted box, in 1 file'
    assert cause.startswith('    likely cause: ')
    assert item.startswith(f'    {path}: object[') and 'expected xmin < xmax' in item
    data = project.folder / 'data'
    assert command == f'stagetrain data check {data} --format voc --split trainval --classes thing --all lists all.'
    console = rich.console.Console(file=io.StringIO(), width=80)
    plan_verb.show(plan, console)
    assert text in console.file.getvalue()  # type: ignore[attr-defined]
