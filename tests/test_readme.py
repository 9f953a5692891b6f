"""What the README promises is held by tests: each of its sentences, and each cell of its table of proofs, names tests that exist.

A promise sentence is each sentence of the README's paragraphs and list items, and each comment (after ` # `) of its code blocks.
Headings, tables, pictures, other code, and what stands between 'Measured results: begin' and 'end' are no promises. A sentence
ends with `.`, `!` or `?` before a word; marks of bold print do not count.
"""

from __future__ import annotations

import pathlib
import re

import pytest

from stagetrain.config import specs
from stagetrain.config.builtin import keras_backbones

ROOT = pathlib.Path(__file__).parents[1]
COLUMNS = ['trains in stages', 'freezes', 'resumes bit-exactly', 'evaluates', 'detects']
DETECTORS = ['Faster R-CNN', 'Faster R-CNN of the paper', 'Cascade R-CNN', 'Mask R-CNN', 'RetinaNet', 'CenterNet']
PROOF = re.compile(r'\[(test_\w+)\]\((tests/[\w/]+\.py)\)')
NO_PROMISES = re.compile(r'<!-- (Proofs|Measured results): begin.*?<!-- \1: end\. -->', re.DOTALL)
SENTENCE_END = re.compile(r'(?<=[.!?])\s+(?=[A-Za-z`])')
LEADS = ''
"""In place of tests: the sentence promises nothing itself, for it is a title in bold print or ends with a colon."""

HELD_BY: dict[str, str] = {
    'stagetrain trains object detectors in stages': (
        'tests/cli/test_end_to_end.py::test_a_second_run_skips_everything_and_says_why'
    ),
    'Its first detector is Faster R-CNN': (
        'tests/test_readme.py::test_every_network_has_its_section '
        'tests/config/test_shipped_configs.py::test_the_four_steps_are_those_of_the_paper '
        'tests/detectors/test_parity.py::test_losses_and_gradients_equal_the_model_gardens'
    ),
    'What you get that a folder of scripts does not give:': LEADS,
    'One file, all stages.': LEADS,
    '`init`, `freeze_variables`, `loss_weights` and `proposals` say': (
        'tests/pipeline/test_runner.py::test_all_four_steps_run_in_order_with_their_proposals '
        'tests/pipeline/test_plan.py::test_a_plan_says_what_is_trained_masked_and_idle'
    ),
    'Every stage is checked before the first step of the first one': (
        'tests/stages/test_roles.py::test_all_stages_are_checked_before_the_first_step '
        'tests/pipeline/test_runner.py::test_a_slip_in_the_last_stage_shows_before_the_first '
        'tests/training/test_variables.py::test_every_fault_of_every_stage_is_told_at_once'
    ),
    'Frozen means bit-identical.': LEADS,
    'Variables and BatchNorm statistics alike: digests are taken': (
        'tests/training/test_frozen.py::test_every_frozen_bit_is_equal_after_training '
        'tests/training/test_audits.py::test_without_freezing_the_layers_the_statistics_would_move '
        'tests/reliability/test_verify.py::test_a_frozen_variable_that_moved_is_found'
    ),
    'A scope that matches nothing is an error.': 'tests/stages/test_roles.py::test_a_scope_without_match_is_refused',
    'A loss of weight 0 is not built at all.': (
        'tests/training/test_step.py::test_a_stage_builds_only_what_its_losses_need '
        'tests/training/test_step.py::test_a_masked_loss_that_would_be_nan_does_not_disturb'
    ),
    'Every weight has one origin, recorded:': 'tests/test_rules.py::test_every_variable_has_exactly_one_origin',
    'Loading is strict': (
        'tests/weights/test_assign.py::test_other_shapes_are_refused '
        'tests/weights/test_assign.py::test_a_variable_that_the_source_lacks_is_named_with_the_nearest'
    ),
    'Resume is exact.': LEADS,
    'Kill a run anywhere and run the same command again:': (
        'tests/cli/test_end_to_end.py::test_stages_killed_at_several_moments_end_with_the_same_bits '
        'tests/reliability/test_campaigns.py::test_killed_runs_end_as_if_undisturbed '
        'tests/training/test_input.py::test_batches_do_not_depend_on_the_first_step '
        'tests/images/test_augment.py::test_an_image_depends_on_the_seed_alone '
        'tests/detectors/test_sampling.py::test_equal_seeds_give_equal_samples'
    ),
    'What is frozen is computed once.': LEADS,
    'Its outputs are stored for each image and view': (
        'tests/stores/test_features.py::test_the_losses_of_20_steps_are_those_without_a_store '
        'tests/stores/test_features.py::test_nothing_of_the_frozen_part_is_in_a_step_on_stored_features '
        'tests/training/test_step.py::test_a_stage_builds_only_what_its_losses_need'
    ),
    '`docs/performance.md` has each stage measured': (
        'tests/test_readme.py::test_every_stage_is_measured_against_the_model_garden'
    ),
    'What is up to date is skipped, and': 'tests/pipeline/test_runner.py::test_a_second_run_does_nothing_and_says_why',
    'Folder names decide nothing.': (
        'tests/pipeline/test_plan.py::test_names_of_files_do_not_count '
        'tests/reliability/test_resume_changes.py::test_data_of_another_place_with_the_same_content_goes_on'
    ),
    'Stages are compared with end-to-end training:': (
        'tests/evaluation/test_compare.py::test_report_is_written '
        'tests/cli/test_main.py::test_compare_runs_the_variants_and_writes_the_report'
    ),
    'makes synthetic images, trains all four steps': (
        'tests/config/test_shipped_configs.py::test_a_recipe_is_sound_and_loads_back_equal '
        'tests/scripts/test_scripts.py::test_the_synthetic_maker_says_what_it_did '
        'tests/training/test_cost.py::test_the_cost_and_the_variables_of_every_shipped_stage_are_known'
    ),
    'sets up and runs all tests': (
        'tests/scripts/test_scripts.py::test_scripts_can_be_executed_and_stop_at_errors '
        'tests/scripts/test_scripts.py::test_setup_takes_an_existing_environment'
    ),
    'Both set up `.venv` with pinned versions first.': 'tests/scripts/test_scripts.py::test_every_dependency_is_pinned',
    'They need Python 3.11 or 3.12': 'tests/scripts/test_scripts.py::test_setup_refuses_another_python',
    'BCCD (blood cells, 3 classes), 256x256': LEADS,
    '`report/` in the run directory holds the table': (
        'tests/evaluation/test_compare.py::test_report_is_written '
        'tests/evaluation/test_plots.py::test_loss_and_ap_are_drawn_and_the_result_stands_behind_the_lane '
        'tests/evaluation/test_report.py::test_page_shows_detections_where_there_are_some'
    ),
    'Pascal VOC in its usual layouts, COCO JSON, YOLO': (
        'tests/training/test_formats.py::test_every_form_of_bccd_gives_the_same_losses_to_the_bit '
        'tests/data/test_voc_layout.py::test_every_layout_gives_the_same_data_and_is_recognised '
        'tests/data/test_convert.py::test_bccd_is_equal_in_every_form_and_back'
    ),
    'a file of the Object Detection API, with a report of every field': (
        'tests/bridges/tfod/test_import_verb.py::test_a_file_becomes_a_pipeline_file_and_a_report '
        'tests/bridges/tfod/test_samples.py::test_every_sample_is_imported_or_refused_by_name '
        'tests/bridges/tfod/test_nothing_is_dropped.py::test_no_field_is_dropped_in_silence'
    ),
    'counts, sizes, every fault with file and object': (
        'tests/data/test_report.py::test_a_set_in_numbers '
        'tests/data/test_report.py::test_every_fault_of_a_dirty_bccd_is_found_and_none_invented '
        'tests/cli/test_data.py::test_a_picture_in_both_sets_ends_with_2'
    ),
    'set base, data.classes, data.train': (
        'tests/config/test_shipped_configs.py::test_a_copied_recipe_needs_a_base_classes_data_and_sources_of_its_own'
    ),
    'every mistake with file, line and the nearest known name': (
        'tests/config/test_shipped_configs.py::test_a_misspelt_key_is_refused_with_its_line '
        'tests/config/test_load.py::test_everything_wrong_is_told_at_once_and_the_default_train_once'
    ),
    'what will run, from what, what is frozen;': (
        'tests/cli/test_main.py::test_plan_tells_what_happens_to_each_stage '
        'tests/training/test_cost.py::test_the_cost_and_the_variables_of_every_shipped_stage_are_known'
    ),
    'interrupted? the same command': 'tests/pipeline/test_runner.py::test_one_signal_saves_and_the_same_command_goes_on',
    'done, partial, stale because ..., missing': (
        'tests/pipeline/test_status.py::test_done_partial_and_missing tests/pipeline/test_status.py::test_stale_stages_say_why'
    ),
    "files, folders, 'patterns'; no file of yours is replaced": (
        'tests/inference/test_request.py::test_folders_and_patterns_give_the_same_pictures '
        'tests/inference/test_request.py::test_out_at_or_inside_the_images_folder_harms_none'
    ),
    '`recipe: four_step` (or `end_to_end`, `heads_then_all`, ...)': (
        'tests/config/test_recipes.py::test_every_recipe_that_a_file_may_name_is_there '
        'tests/cli/test_expand.py::test_the_printed_file_loads_to_an_equal_pipeline'
    ),
    "A stage reads like this; the file's keys": (
        'tests/config/test_schema.py::test_every_key_of_a_pipeline_is_documented '
        'tests/config/test_schema.py::test_the_shipped_json_schema_is_current '
        'tests/cli/test_main.py::test_schema_is_json_that_knows_the_stages'
    ),
    "step 3: the detector's features, now shared and fixed": (
        'tests/config/test_shipped_configs.py::test_the_four_steps_are_those_of_the_paper'
    ),
    'A finished stage whose `train.steps` is raised': (
        'tests/training/test_extension.py::test_four_steps_and_then_eight_are_eight '
        'tests/pipeline/test_extension.py::test_what_was_extended_by_force_is_recorded_everywhere'
    ),
    '`--only`, `--from`, `--until` and `--force` select stages': (
        'tests/pipeline/test_runner.py::test_only_from_and_until_run_what_they_say '
        'tests/pipeline/test_runner.py::test_force_runs_a_stage_again_and_equal_weights_leave_the_others_alone '
        'tests/config/test_merge.py::test_an_override_finds_stages_by_name '
        'tests/cli/test_main.py::test_eval_prints_the_metrics_and_trains_nothing '
        'tests/evaluation/test_compare.py::test_runs_that_differ_in_more_than_the_seed_stay_apart '
        'tests/cli/test_main.py::test_clean_removes_what_no_stage_reads'
    ),
    'Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted.': (
        'tests/cli/test_main.py::test_run_then_status_then_run_again '
        'tests/cli/test_main.py::test_a_failed_stage_ends_with_1_and_one_paragraph '
        'tests/cli/test_main.py::test_bad_input_is_one_message_and_exit_code_2 '
        'tests/reliability/test_signals.py::test_three_nervous_presses_save_and_end_with_130'
    ),
    '`--verbosity=1` shows the logs of a run and its stages': (
        'tests/cli/test_flags.py::test_verbosity_shows_the_lines_of_parent_and_child_and_reaches_the_child '
        'tests/cli/test_flags.py::test_flags_are_taken_in_absls_forms_before_and_behind_the_verb '
        'tests/cli/test_flags.py::test_the_flag_of_a_plugin_is_taken_and_reaches_the_child'
    ),
    '`source <(stagetrain completion bash)` has the shell complete': (
        'tests/cli/test_completion.py::test_bash_offers tests/cli/test_completion.py::test_zsh_offers'
    ),
    'Every cell names the test that shows it': (
        'tests/test_readme.py::test_every_cell_names_a_test_that_is_there_or_says_that_it_is_not_so'
    ),
    'One new file that registers a spec': 'tests/cli/test_outside.py::test_one_file_each_is_enough_to_train_in_stages_and_detect',
    'A spec holds what planning must know': (
        'tests/api/test_face.py::test_importing_and_planning_import_no_tensorflow '
        'tests/test_architecture.py::test_light_rooms_do_not_import_tensorflow'
    ),
    'Outside this package, name the file under `plugins:`': (
        'tests/config/test_load.py::test_a_plugin_beside_the_file_adds_a_backbone_here_and_in_child_processes'
    ),
    'A detector: `DetectorSpec`': 'tests/cli/test_outside.py::test_one_file_each_is_enough_to_train_in_stages_and_detect',
    'A backbone: `BackboneSpec`': 'tests/cli/test_outside.py::test_one_file_each_is_enough_to_train_in_stages_and_detect',
    'Every backbone of the Model Garden is there already': (
        'tests/config/test_model_garden.py::test_the_generated_classes_are_those_of_the_installed_model_garden '
        'tests/test_readme.py::test_keras_backbones_are_as_many_as_the_readme_says '
        'tests/detectors/test_keras_backbones.py::test_features_are_those_of_the_application'
    ),
    'A kind of weight file: `SourceSpec`': (
        'tests/cli/test_outside.py::test_one_file_each_is_enough_to_train_in_stages_and_detect'
    ),
    'A data format: `FormatSpec`': 'tests/data/test_index.py::test_a_format_without_inputs_is_read_each_time',
    'An artefact: `ArtefactSpec`': 'tests/cli/test_outside_stages.py::test_a_student_learns_from_a_teacher_and_its_labels',
    'It is planned, made once, skipped while up to date': (
        'tests/cli/test_outside_stages.py::test_a_student_learns_from_a_teacher_and_its_labels '
        'tests/pipeline/test_plan.py::test_proposal_settings_make_the_reader_stale_and_not_the_maker'
    ),
    'A loss: `LossSpec`': 'tests/cli/test_outside_stages.py::test_a_student_learns_from_a_teacher_and_its_labels',
    'An exporter: `ExporterSpec`': 'tests/cli/test_export.py::test_a_plugins_format_holds_every_variable_of_the_stage',
    'for programs without stagetrain': 'tests/inference/test_saved_model.py::test_a_fresh_process_finds_what_detect_finds',
    'A callback: `CallbackSpec`': 'tests/api/test_callbacks.py::test_it_sees_every_step_and_makes_no_stage_stale',
    'A kind of stage: `StageKind`': 'tests/cli/test_outside_kind.py::test_every_variable_is_the_mean_and_names_its_stages',
    'Lineage, freeze proof, evaluation and skipping are those of every stage': (
        'tests/cli/test_outside_kind.py::test_it_is_evaluated_verified_skipped_and_stale_like_every_stage'
    ),
    'A strategy: `StrategySpec`': (
        'tests/cli/test_outside_strategy.py::test_it_trains_freezes_and_resumes_with_the_bits_of_one_device'
    ),
    '`tests/outside/` has each of these': (
        'tests/cli/test_outside.py::test_one_file_each_is_enough_to_train_in_stages_and_detect '
        'tests/cli/test_outside_stages.py::test_a_student_learns_from_a_teacher_and_its_labels '
        'tests/api/test_callbacks.py::test_it_sees_every_step_and_makes_no_stage_stale '
        'tests/cli/test_outside_strategy.py::test_it_trains_freezes_and_resumes_with_the_bits_of_one_device'
    ),
    'For example, a backbone:': LEADS,
    'Tested on Linux and CPUs': 'tests/scripts/test_scripts.py::test_every_dependency_is_pinned',
    'The strategy `mirrored`, for several GPUs, was tried': (
        'tests/devices/test_mirrored.py::test_losses_are_those_of_one_device '
        'tests/config/test_check.py::test_broken_rules_are_refused_with_place_and_remedy'
    ),
    'Bits are equal for equal versions, machine type': (
        'tests/reliability/test_campaigns.py::test_bits_do_not_depend_on_the_number_of_cores '
        'tests/config/test_versions.py::test_whether_onednn_is_on_is_one_of_them'
    ),
    'stagetrain switches oneDNN on;': (
        'tests/config/test_onednn.py::test_it_is_switched_on_before_tensorflow_is_imported '
        'tests/config/test_onednn.py::test_the_users_own_value_wins_as_tensorflow_reads_it'
    ),
    'An experiment of the Model Garden that draws random numbers': (
        'tests/training/test_experiment.py::test_random_numbers_that_no_checkpoint_holds_are_refused_before_the_first_step'
    ),
    'Experiments have no stored features': (
        'tests/config/test_experiments.py::test_what_an_experiment_cannot_do_is_refused '
        'tests/inference/test_choice.py::test_an_experiment_does_not_detect'
    ),
    'Masks are read from COCO': (
        'tests/data/test_coco.py::test_masks_are_read_where_asked_for '
        'tests/data/test_yolo.py::test_a_polygon_is_its_box_and_where_asked_its_mask '
        'tests/data/test_labelme.py::test_shapes_become_boxes '
        'tests/data/test_convert.py::test_masks_are_not_carried_over'
    ),
    'A Mask R-CNN has no cascade.': 'tests/config/test_schema.py::test_a_mask_rcnn_has_no_cascade',
    "The paper's RoI max pooling is bilinear sampling": (
        'tests/detectors/test_faster_rcnn_single_scale.py::test_the_full_network_has_the_papers_size_and_its_graph_is_built '
        'tests/detectors/test_faster_rcnn_single_scale.py::test_pools_must_fill_the_crop'
    ),
    "VOC's coordinates are taken as box edges": (
        'tests/data/test_voc.py::test_boxes_classes_and_flags_are_read_as_they_stand '
        'tests/evaluation/test_metrics.py::test_metrics_equal_pycocotools_own_loading '
        'tests/evaluation/test_voc_ap.py::test_eleven_points_and_area_of_a_curve'
    ),
    'Objects marked as difficult or as a crowd': (
        'tests/evaluation/test_metrics.py::test_difficult_object_is_neither_right_nor_wrong '
        'tests/evaluation/test_voc_ap.py::test_difficult_objects_are_neither_found_nor_missed'
    ),
    "Of AutoAugment's operations one": (
        'tests/images/test_augment.py::test_detection_v0_leaves_out_what_moves_single_boxes '
        'tests/config/test_augmentation.py::test_what_the_model_garden_does_not_have_is_refused'
    ),
    'Features are stored behind a frozen decoder': (
        'tests/pipeline/test_feature_plan.py::test_a_pyramids_size_is_told '
        'tests/pipeline/test_feature_plan.py::test_a_cut_inside_the_backbone_is_told_without_its_size '
        'tests/stores/test_features_inside.py::test_the_rest_of_the_backbone_trains_on_what_is_stored_with_the_same_losses'
    ),
    'Apache License 2.0': 'tests/test_readme.py::test_the_license_is_apaches',
}
"""Beginning of a promise sentence -> the tests that hold it, parted by blanks."""


def rows(text: str) -> dict[str, list[str]]:
    """Returns system -> its cells; the first row is the head."""
    table = text.partition('<!-- Proofs: begin.')[2].partition('<!-- Proofs: end.')[0]
    lines = [[cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines() if line.startswith('|')]
    return {cells[0]: cells[1:] for cells in lines if not cells[0].startswith('---')}


def missing(text: str) -> list[str]:
    """Returns the tests named in the table that are not in the file named beside them."""
    proofs = [proof for cells in rows(text).values() for cell in cells for proof in PROOF.findall(cell)]
    return [name for name, file in proofs if not re.search(rf'^def {name}\(', (ROOT / file).read_text(), flags=re.MULTILINE)]


def test_every_cell_names_a_test_that_is_there_or_says_that_it_is_not_so() -> None:
    text = (ROOT / 'README.md').read_text()
    head, *systems = rows(text).values()
    assert head == COLUMNS
    assert len(systems) >= 4 and all(len(cells) == len(COLUMNS) for cells in systems)
    assert all(PROOF.fullmatch(cell) or cell.startswith('not ') for cells in systems for cell in cells)
    assert missing(text) == []


@pytest.mark.parametrize('system', DETECTORS)
def test_a_detector_has_a_proof_in_every_cell(system: str) -> None:
    assert all(PROOF.fullmatch(cell) for cell in rows((ROOT / 'README.md').read_text())[system])


def test_a_test_that_is_gone_is_noticed() -> None:
    table = '<!-- Proofs: begin. -->\n| | a |\n|---|---|\n| x | [test_gone](tests/test_readme.py) |\n<!-- Proofs: end. -->'
    assert missing(table) == ['test_gone']


def promises(text: str) -> list[str]:
    """Returns the promise sentences of the README, without marks of bold print."""
    found = []
    for block in re.split(r'\n\s*\n|\n(?=- )', NO_PROMISES.sub('\n\n', text).replace('**', '')):
        if block.startswith('    '):
            found += re.findall(r' # +(.*)', block)
        elif not block.startswith(('#', '<!--', '|', '![')):
            found += SENTENCE_END.split(' '.join(block.removeprefix('- ').split()))
    return found


def without_row(text: str) -> list[str]:
    """Returns the promise sentences that not exactly one row of `HELD_BY` begins."""
    return [sentence for sentence in promises(text) if sum(sentence.startswith(row) for row in HELD_BY) != 1]


def without_sentence(text: str) -> list[str]:
    """Returns the rows of `HELD_BY` that begin not exactly one promise sentence."""
    return [row for row in HELD_BY if sum(sentence.startswith(row) for sentence in promises(text)) != 1]


def is_there(place: str) -> bool:
    """Returns whether a test, named as `tests/test_x.py::test_y`, is there."""
    file, _, name = place.partition('::')
    path = ROOT / file
    return path.is_file() and bool(name) and bool(re.search(rf'^def {name}\(', path.read_text(), re.MULTILINE))


def test_every_promise_has_its_row_and_every_row_its_promise() -> None:
    text = (ROOT / 'README.md').read_text()
    assert without_row(text) == [], 'see BUILD.md: a new sentence in the README gets a row in HELD_BY'
    assert without_sentence(text) == []


def test_the_tests_of_all_promises_are_there() -> None:
    places = [place for held_by in HELD_BY.values() for place in held_by.split()]
    assert [place for place in places if not is_there(place)] == []


def test_only_a_title_or_what_ends_with_a_colon_promises_nothing() -> None:
    text = (ROOT / 'README.md').read_text()
    leads = [sentence for sentence in promises(text) if any(sentence.startswith(row) for row in HELD_BY if HELD_BY[row] == LEADS)]
    assert [sentence for sentence in leads if not sentence.endswith(':') and f'**{sentence}**' not in text] == []


def test_a_new_promise_a_broken_row_and_a_test_that_is_gone_are_noticed() -> None:
    text = (ROOT / 'README.md').read_text()
    assert without_row(f'{text}\nIt is fast. Loading is strict.\n\n    stagetrain x   # makes coffee') == [
        'It is fast.',
        'makes coffee',
    ]
    assert without_sentence(text.replace('Loading is strict.', 'Loading is easy.')) == ['Loading is strict']
    assert without_sentence(f'{text}\nLoading is strict.') == ['Loading is strict']
    gone = ('tests/test_readme.py::test_gone', 'tests/gone.py::test_gone', 'tests/test_readme.py')
    assert not any(map(is_there, gone)) and is_there('tests/test_readme.py::test_a_test_that_is_gone_is_noticed')


def test_every_network_has_its_section() -> None:
    text = (ROOT / 'docs' / 'networks.md').read_text()
    assert [spec.name for spec in specs.detectors() if f'`{spec.name}`' not in text] == []


def test_keras_backbones_are_as_many_as_the_readme_says() -> None:
    assert sum(name.startswith('keras_') for name in keras_backbones.Backbone.model_fields) == 10


def test_every_stage_is_measured_against_the_model_garden() -> None:
    table = (
        (ROOT / 'docs' / 'performance.md')
        .read_text()
        .partition('<!-- bench_stages: begin')[2]
        .partition('<!-- bench_stages: end')[0]
    )
    rows_there = [line.split('|')[1].strip() for line in table.splitlines() if line.startswith('|')]
    assert {'step_1', 'step_2', 'step_3', 'step_4', 'end_to_end'} <= set(rows_there) and '| Model Garden |' in table


def test_the_layout_names_every_room() -> None:
    named = re.findall(r'^    stagetrain/(\w+)/ ', (ROOT / 'README.md').read_text(), re.MULTILINE)
    there = sorted(path.name for path in (ROOT / 'stagetrain').iterdir() if path.is_dir() and path.name != '__pycache__')
    assert sorted(named) == there


def test_the_license_is_apaches() -> None:
    assert (ROOT / 'LICENSE').read_text().split()[:4] == ['Apache', 'License', 'Version', '2.0,']
