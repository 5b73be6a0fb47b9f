import inspect

import pytest

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe import CorpusRecipe, DataRecipe, ModelRecipe, Recipe
from ser_meta.configuration.recipe_files import load_recipe, load_recipes, read_corpus, save_recipe
from ser_meta.modeling_ser_meta.configuration_ser_meta import SerMetaConfig

OWN = """
extends: base.yaml
data:
  corpus: table
stages:
  emotion:
    epochs: 7
"""
BASE = """
data:
  corpus: ravdess
  root: /data
  options: {song: false}
model:
  encoder: some/encoder
stages:
  metadata:
    loss_weights: {gender: 1, transcript: 0.1}
    epochs: 3
    encoder_learning_rate: 1e-5
    head_learning_rate: 1.0e-4
  emotion:
    loss_weights: {emotion: 1}
    epochs: 5
    encoder_learning_rate: 1.0e-5
    head_learning_rate: 1.0e-4
    freeze_layers: third
"""


@pytest.fixture
def base(tmp_path) -> str:
    path = tmp_path / "base.yaml"
    path.write_text(BASE)
    return str(path)


def test_overrides_change_single_settings(base):
    recipe = load_recipe(
        base, ["stages.emotion.epochs=20", "data.test_fold=21+22", "model.labels.emotion=[sad,angry]", "seed=9"]
    )
    assert recipe.stages["emotion"].epochs == 20 and recipe.stages["metadata"].epochs == 3
    assert recipe.data.test_fold == "21+22" and recipe.model.labels == {"emotion": ["sad", "angry"]}
    assert recipe.seed == 9 and list(recipe.stages) == ["metadata", "emotion"]
    assert recipe.stages["metadata"].encoder_learning_rate == 1e-5


def test_a_weight_of_zero_takes_a_task_out_of_a_stage(base):
    recipe = load_recipe(base, ["stages.metadata.loss_weights.transcript=0"])
    assert recipe.stages["metadata"].loss_weights == {"gender": 1.0}


def test_a_task_is_taken_out_by_one_edit(base, tmp_path):
    """Of the model's auxiliary tasks: every stage loses its weight, and goes if it has no other."""
    known = {"metadata": {"gender": 1.0, "transcript": 0.1}, "emotion": {"emotion": 1.0}}
    for overrides, expected in (
        ([], known),
        (["model.auxiliary_tasks=[gender]"], {**known, "metadata": {"gender": 1.0}}),
        (["model.auxiliary_tasks=[speaker]"], {"emotion": {"emotion": 1.0}}),
        (["model.auxiliary_tasks=[]"], {"emotion": {"emotion": 1.0}}),
        (["stages.metadata=null"], {"emotion": {"emotion": 1.0}}),
    ):
        recipe = load_recipe(base, overrides)
        assert {name: stage.loss_weights for name, stage in recipe.stages.items()} == expected, overrides
    # a task of one's own is known from the recipe that is extended
    own = tmp_path / "own.yaml"
    own.write_text(
        "extends: base.yaml\nmodel: {auxiliary_tasks: [mood]}\nstages: {emotion: {loss_weights: {mood: 1}}}"
    )
    assert load_recipe(str(own)).stages["emotion"].loss_weights == {"emotion": 1.0, "mood": 1.0}
    assert load_recipe(str(own), ["model.auxiliary_tasks=[gender]"]).stages == (
        load_recipe(base, ["model.auxiliary_tasks=[gender]"]).stages
    )


def test_all_faults_of_a_recipe_are_told_at_once(base, tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text(
        "extends: base.yaml\nmodel: {encodr: x, dropout: much}\nseed: -1\n"
        "stages: {emotion: {epochs: 0, loss_weights: {gendr: 1}}, third: {loss_weights: {gender: 1}, epochs: 1}}"
    )
    with pytest.raises(UserError) as refused:
        load_recipe(str(own))
    told = str(refused.value)
    assert told.startswith(f"recipe {own}: 7 faults: (1) ") and told.count("; (") == 6 and "\n" not in told
    for fault in (
        "unknown recipe key model.encodr: did you mean encoder?",
        "model.dropout Value 'much'",
        "stages.third.encoder_learning_rate has no value",
        "stages.third.head_learning_rate has no value",
        "seed=-1 must be from 0",
        "stages.emotion.epochs=0.0 must be a number above 0",
        "stages.emotion.loss_weights='gendr' must be one of emotion",
    ):
        assert fault in told, fault


def test_several_recipes_of_a_command_have_names_of_their_own(base, tmp_path):
    other = tmp_path / "other" / "base.yaml"
    other.parent.mkdir()
    other.write_text("extends: ../base.yaml\nseed: 3\n")
    recipes = load_recipes([base, "seed=5", "demo"])
    assert {name: recipe.seed for name, recipe in recipes.items()} == {"base": 5, "demo": 5}
    with pytest.raises(UserError, match="two recipes have the name base: give one of the files another name"):
        load_recipes([base, str(other)])
    with pytest.raises(UserError, match=r"no recipe is given beside data\.root=/x: name one, such as demo"):
        load_recipes(["data.root=/x"])


def test_an_empty_mapping_empties_what_the_recipe_has(base, tmp_path):
    settings = ["data.label_map.emotion={calm: null, happy: glad}", "model.labels.emotion=[sad,angry]"]
    emptied = load_recipe(base, [*settings, "data.label_map={}", "data.options={}", "model.labels={}"])
    assert (emptied.data.label_map, emptied.data.options, emptied.model.labels) == ({}, {}, {})
    anew = load_recipe(base, [*settings, "data.label_map.emotion={}", "data.label_map.emotion.sad=null"])
    assert anew.data.label_map == {"emotion": {"sad": None}} and anew.model.labels == {"emotion": ["sad", "angry"]}
    own = tmp_path / "own.yaml"
    own.write_text("extends: base.yaml\ndata: {options: {}}\nmodel: {}\nstages: {emotion: {}}")
    child, parent = load_recipe(str(own)), load_recipe(base)
    assert child.data.options == {} and parent.data.options == {"song": False}
    assert (child.model, child.stages) == (parent.model, parent.stages)  # sections are not emptied


def test_loss_weights_of_a_student_that_are_not_named_stay(base):
    recipe = load_recipe(base, ["distillation.teacher=some/model", "distillation.loss_weights={target: 2, tasks: 0}"])
    assert recipe.distillation.loss_weights == {"target": 2.0, "tasks": 0.0, "frames": 1.0}


def test_settings_of_a_loader_stand_plain_or_as_in_a_recipe():
    for settings in (["corpus=turevdb"], ["options.corpus=turevdb"], ["options={corpus: turevdb}"]):
        assert read_corpus("emobox", "/clone", settings) == CorpusRecipe("emobox", "/clone", {"corpus": "turevdb"})
    settings = ["options.columns.audio=path", "label_map.emotion.calm=null", "columns.emotion=mood", "channel=left"]
    assert read_corpus("table", "my.csv", settings) == CorpusRecipe(
        "table",
        "my.csv",
        {"columns": {"audio": "path", "emotion": "mood"}, "channel": "left"},
        label_map={"emotion": {"calm": None}},
    )
    with pytest.raises(UserError, match=r"^options must be a mapping, as \{key: value\}$"):
        read_corpus("table", "my.csv", ["options=3"])


def test_a_recipe_extends_one_beside_it_or_in_the_package(base, tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text(OWN)
    recipe = load_recipe(str(own))
    assert recipe.data.corpus == "table" and recipe.data.root == "/data"
    assert recipe.stages["emotion"].epochs == 7 and recipe.stages["emotion"].freeze_layers == "third"
    own.write_text("extends: ravdess-whisper-base\nseed: 4\n")
    packaged = load_recipe("ravdess-whisper-base")
    assert load_recipe(str(own)).stages == packaged.stages and load_recipe(str(own)).seed == 4


def test_a_saved_recipe_reads_back_equal(base, tmp_path):
    recipe = load_recipe(base, ["data.test_fold=21", "stages.emotion.early_stopping_patience=null", "data.longest=4"])
    save_recipe(recipe, tmp_path / "saved.yaml")
    read = load_recipe(str(tmp_path / "saved.yaml"))
    assert isinstance(read, Recipe) and read == recipe
    assert list(read.stages) == list(recipe.stages)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stages.emotion.epoch=2", r"stages\.emotion\.epoch: did you mean epochs\?"),
        ("model.encodr=x", r"model\.encodr: did you mean encoder\?"),
        ("sed=2", r"sed: did you mean seed\?"),
        ("data.nonsense=1", r"data\.nonsense: known here: corpus, root"),
        ("epochs=2", r"unknown recipe key epochs: did you mean stages\.NAME\.epochs\?"),
        ("revision=main", r"unknown recipe key revision: did you mean model\.revision\?"),
        ("model.auxiliary_tasks=gender,speaker", r"model\.auxiliary_tasks must be a list, as \[one,two\]"),
        ("data.label_map=happy", r"data\.label_map must be a mapping, as \{key: value\}"),
        ("stages.emotion=3", r"stages\.emotion must be a mapping"),
        ("seed", r"seed"),
        ("stages.emotion.epochs=many", r"stages\.emotion\.epochs.*many"),
        ("data.group_size=two", r"data\.group_size.*two"),
        ("data=[1", r"data=\[1"),
        ("data.longest=${nothing}", r"\$\{nothing\} is to be computed from something else"),
        ("stages.emotions.epochs=2", r"stages\.emotions\.\w+ has no value"),
        ("stages.emotion.epochs=0", r"stages\.emotion\.epochs=0.* above 0"),
        ("baseline.head_learning_rate=0", r"baseline\.head_learning_rate=0.* above 0"),
        ("stages.emotion.loss_weights.mood=1", r"stages\.emotion\.loss_weights='mood' must be one of emotion, gender"),
        ("stages.emotion.loss_weights.emotion=-1", r"stages\.emotion\.loss_weights\.emotion=-1"),
        ("stages.emotion.loss_weights.emotion=0", r"stages\.emotion\.loss_weights is empty"),
        ("stages.emotion.schedule=step", r"stages\.emotion\.schedule='step' must be one of linear"),
        ("stages.emotion.keep=best", r"data\.validation is none"),
        ("stages.emotion.early_stopping_patience=2", r"data\.validation is none"),
        ("stages.emotion.early_stopping_patience=0", r"early_stopping_patience=0 must be a number above 0"),
        ("stages.emotion.early_stopping_patience=-3", r"early_stopping_patience=-3 must be a number above 0"),
        ("stages.emotion.freeze_layers=true", r"stages\.emotion\.freeze_layers=True"),
        ("stages.emotion.batch_size=0", r"stages\.emotion\.batch_size=0"),
        ("stages.emotion.gradient_accumulation_steps=-1", r"gradient_accumulation_steps=-1"),
        ("stages.emotion.warmup=nan", r"stages\.emotion\.warmup=nan must be from 0 to 1"),
        ("stages.emotion.epochs=inf", r"stages\.emotion\.epochs=inf"),
        ("stages.emotions=null", r"stages\.emotions=null takes no stage away: there are metadata, emotion"),
        ("stages.emotion.loss_weights.mood=0", r"stages\.emotion\.loss_weights='mood' must be one of emotion, gender"),
        ("data.validation_fraction=1", r"data\.validation_fraction=1\.0 must be between 0 and 1"),
        ("data.longest=-1", r"data\.longest=-1"),
        ("data.trim_decibels=0", r"data\.trim_decibels=0"),
        ("model.auxiliary_tasks=[gender,gender]", r"names gender twice, or the target"),
        ("model.auxiliary_tasks=[gender,emotion]", r"names emotion twice, or the target"),
        ("model.ranges.style=[0,inf]", r"model\.ranges\.style=.* must be the lowest and the highest"),
        ("stages.emotion.freeze_layers=half", r"stages\.emotion\.freeze_layers='half'"),
        ("stages.emotion.freeze_layers=-1", r"stages\.emotion\.freeze_layers=-1"),
        ("data.folds=town", r"data\.folds='town' must be one of speaker, session"),
        ("data.validation=test", r"data\.validation='test' must be one of none"),
        ("data.speed_factors=[]", r"data\.speed_factors=\[\] is empty: \[1\.0\] is the speed of the recordings"),
        ("model.labels.emotion=[a,a]", r"model\.labels\.emotion=\['a', 'a'\] must be labels, each once"),
        ("data.label_map=null", r"data\.label_map must not be null: empty it as \{\}"),
        ("data.speed_factors=null", r"data\.speed_factors must not be null: empty it as \[\]"),
        ("data.augmentation=null", r"data\.augmentation must not be null: leave it out"),
        ("data.label_map=[]", r"data\.label_map must be a mapping, as \{key: value\}"),
        ("degraded={telephone: 1}", r": degraded must be a list, as \[one,two\]"),
        ("data.speed_factors={a: 1}", r"data\.speed_factors must be a list"),
        ("model.adapter=lora", r"model\.adapter must be a mapping"),
        ("data.augmentation.noise=0.5", r"data\.augmentation\.noise must be a mapping"),
        ("distillation=r0", r": distillation must be a mapping"),
        ("data=3", r": data must be a mapping, as \{key: value\}$"),
        ("stages=[a]", r": stages must be a mapping, as \{key: value\}$"),
        ("precision={a: 1}", r"precision=\{'a': 1\} must be a single value"),
        ("stages.emotion.loss_weights={emotion: {a: 1}}", r"loss_weights\.emotion=\{'a': 1\} must be a single value"),
        ("data.corpora=[nemo]", r"data\.corpora\[0\] must be a mapping"),
        ("data.corpora=[{corpus: nemo, label_map: [a]}]", r"data\.corpora\[0\]\.label_map must be a mapping"),
        ("distillation.loss_weights={}", r"distillation\.loss_weights has no weight above 0"),
        ("data.speed_factors=[0.8,0]", r"data\.speed_factors=0"),
        ("model.labels.mood=[good,bad]", r"model\.labels='mood' must be one of emotion"),
        ("data.corpus=null", r"data\.corpus has no value: .* or list several in data\.corpora"),
        ("data.corpora={a: b}", r"data\.corpora must be a list, as \[one,two\]$"),
        ("data.corpora[0].root=/a", r"data\.corpora\[0\] is not there: it lists 0, counted from 0"),
        ("data.corpora=[{root: /a}]", r"data\.corpora\[0\]\.corpus has no value"),
        ("data.corpora=[{corpsu: nemo}]", r"corpsu: did you mean corpus\?"),
        ("data.label_map.emotion=sad", r"data\.label_map\.emotion must be a mapping"),
        ("model.ranges.valence=[1,5]", r"model\.ranges='valence' must be one of gender"),
        ("model.ranges.emotion=[1,5]", r"model\.ranges='emotion' must be one of gender"),
        ("model.ranges.style=[5,1]", r"model\.ranges\.style=\[5\.0, 1\.0\] must be the lowest and the highest"),
        ("model.ranges.style=[1,2,3]", r"model\.ranges\.style=.* must be the lowest and the highest"),
        ("model.ranges.style=5", r"model\.ranges\.style"),
        ("model.auxiliary_tasks=[gender,type]", r"no task can be called 'type'"),
        ("model.target_task=segments", r"no task can be called 'segments'"),
        ("model.auxiliary_tasks=[gender,a.b]", r"no task can be called 'a\.b'"),
        ("model.layer_fusion=sum", r"model\.layer_fusion='sum' must be one of ari, weighted_sum, last_hidden"),
        ("model.ari_join=mul", r"model\.ari_join='mul' must be one of add, concat"),
        ("model.frame_pooling=[max]", r"model\.frame_pooling='max' must be one of mean"),
        ("model.coattention_heads=0", r"model\.coattention_heads=0 must be a whole number of 1 or more"),
        ("model.coattention_heads=-4", r"model\.coattention_heads=-4 must be"),
        ("model.head_hidden_size=0", r"model\.head_hidden_size=0 must be a whole number of 1 or more"),
        ("model.classifier_hidden_size=-1", r"model\.classifier_hidden_size=-1 must be a whole number of 0 or more"),
        ("model.dropout=1", r"model\.dropout=1.* must be at least 0 and below 1"),
        ("model.label_smoothing=-0.1", r"model\.label_smoothing=-0.1 must be"),
        ("model.initializer_range=0", r"model\.initializer_range=0.* must be a number above 0"),
        ("model.center_by=[speaker]", r"model\.center_by=\['speaker'\] needs standardize_states=true"),
        ("precision=fp8", r"precision='fp8' must be one of auto, fp32, bf16, fp16"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(base, override, message):
    with pytest.raises(UserError, match=message) as refused:
        load_recipe(base, [override])
    assert "\n" not in str(refused.value)


def test_a_list_of_corpora_takes_the_place_of_a_single_one(base, tmp_path):
    several = "[{corpus: nemo, root: /a, label_map: {emotion: {fear: null, anger: angry}}}, {corpus: ravdess}]"
    own = tmp_path / "several.yaml"
    own.write_text(f"extends: base.yaml\ndata: {{corpora: {several}, folds: corpus}}\n")
    recipe = load_recipe(str(own))
    nemo, ravdess = recipe.data.sources
    assert (nemo.corpus, nemo.root, nemo.label_map) == ("nemo", "/a", {"emotion": {"fear": None, "anger": "angry"}})
    assert (ravdess.corpus, ravdess.root, ravdess.options) == ("ravdess", None, {})
    assert load_recipe(base, [f"data.corpora={several}", "data.folds=corpus"]) == recipe
    save_recipe(recipe, tmp_path / "saved.yaml")
    assert load_recipe(str(tmp_path / "saved.yaml")) == recipe
    with pytest.raises(UserError, match=r"data\.corpora lists the corpora, but data\.root is set beside it"):
        load_recipe(str(own), ["data.root=/c"])
    with pytest.raises(UserError, match=r"data\.corpora lists the corpora, but data\.root is set beside it"):
        load_recipe(base, ["data.root=/c", f"data.corpora={several}"])


def test_a_setting_of_one_of_several_corpora(base, tmp_path):
    own = tmp_path / "several.yaml"
    corpora = "[{corpus: nemo, root: /a}, {corpus: ravdess, root: /b}]"
    own.write_text(f"extends: base.yaml\ndata: {{corpora: {corpora}, folds: corpus}}\n")
    settings = ["data.corpora[0].label_map.emotion.fear=null", "data.corpora[1].root=/c"]
    nemo, ravdess = load_recipe(str(own), settings).data.sources
    assert (nemo.root, nemo.label_map, ravdess.root) == ("/a", {"emotion": {"fear": None}}, "/c")
    both = load_recipe(str(own), ["data.corpora={0: {root: /d}, 1: {root: /e}}"]).data.sources
    assert [source.root for source in both] == ["/d", "/e"]
    with pytest.raises(UserError, match=r"data\.corpora\[2\] is not there: it lists 2, counted from 0"):
        load_recipe(str(own), ["data.corpora[2].root=/c"])
    with pytest.raises(UserError, match="rot: did you mean root"):
        load_recipe(str(own), ["data.corpora[1].rot=/c"])


def test_a_single_corpus_is_a_list_of_one(base):
    (source,) = load_recipe(base, ["data.label_map.emotion.calm=null"]).data.sources
    assert (source.corpus, source.root, source.options) == ("ravdess", "/data", {"song": False})
    assert source.label_map == {"emotion": {"calm": None}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("data: [", r"own\.yaml is no YAML"),
        ("- a\n- b", r"own\.yaml holds no mapping"),
        ("", r"own\.yaml"),
        ("extends: base.yaml\nstages: null", r"stages"),
        ("extends: base.yaml\nstages: [a]", r": stages must be a mapping, as \{key: value\}$"),
        ("extends: base.yaml\ndata: 3", r": data must be a mapping, as \{key: value\}$"),
        ("extends: base.yaml\ndata: null", r"data must not be null: leave it out"),
        ("extends: elsewhere", r"no such recipe: elsewhere"),
        ("extends: own.yaml", r"own\.yaml extends itself"),
        ("data: {corpus: table}\nstages: {a: {loss_weights: {emotion: 1}}}", r"has no value"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_in_one_line(base, tmp_path, content, message):
    own = tmp_path / "own.yaml"
    own.write_text(content)
    with pytest.raises(UserError, match=message) as refused:
        load_recipe(str(own))
    assert "\n" not in str(refused.value)


def test_an_unknown_recipe_is_told_which_there_are():
    with pytest.raises(UserError, match=r"no such recipe: ravdes: .*ravdess-whisper-base"):
        load_recipe("ravdes")


def test_a_recipe_tells_nothing_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    path = tmp_path / "mine.yaml"
    for value in ("${oc.env:HF_TOKEN}", "/data/${oc.env:HF_TOKEN}", "{deep: ['${oc.env:HF_TOKEN}']}", "${oc.env"):
        path.write_text(
            f"extends: demo\ndata: {{options: {{name: {value!r}}}}}\n"
            if value[0] != "{"
            else f"extends: demo\ndata: {{options: {value}}}\n"
        )
        with pytest.raises(UserError, match=r"\$\{oc\.env") as refused:
            load_recipe(str(path))
        assert "hf_secret" not in str(refused.value)
    with pytest.raises(UserError, match="write the value itself"):
        load_recipe("demo", ["data.root=${oc.env:HF_TOKEN}"])


@pytest.mark.parametrize("tag", ["object/apply:os.mkdir", "object/new:os.mkdir", "object/apply:subprocess.call"])
def test_a_recipe_runs_nothing(tag, tmp_path):
    harm = tmp_path / "harm"
    (tmp_path / "mine.yaml").write_text(f"extends: demo\ndata: !!python/{tag} [{str(harm)!r}]\n")
    with pytest.raises(UserError, match="is no YAML"):
        load_recipe(str(tmp_path / "mine.yaml"))
    with pytest.raises(UserError):
        load_recipe("demo", [f"data.root=!!python/{tag} [{str(harm)!r}]"])
    assert not harm.exists()


def test_settings_that_a_recipe_and_a_model_share_have_the_same_defaults():
    # they are written twice: the recipe is read before Transformers is, of which the config is a part
    own = {
        "encoder",
        "revision",
        "narrow",
        "auxiliary_tasks",
        "labels",
        "multilabel",
        "ranges",
        "attention",
        "class_weights",
    }
    taken = inspect.signature(SerMetaConfig).parameters
    of_recipe = {name: value for name, value in vars(ModelRecipe()).items() if name not in own}
    assert {name: getattr(SerMetaConfig(), name) for name in of_recipe} == of_recipe
    written = {"speech_config", "base_encoder", "tasks", "task_order", "class_weights", "calibration_temperature"}
    written |= {"encoder_frames", "hidden_tasks", "scores_are_shares", "label_shares", "familiarity"}
    assert set(taken) - written - {"kwargs"} == set(of_recipe)


def test_a_single_corpus_has_the_settings_of_one_among_several():
    settings = {"label_map": {"emotion": {"calm": None}}, "quarantine": "q.json", "leave_out_missing": True}
    alone = CorpusRecipe("table", "my.csv", {"language": "de"}, **settings)
    assert DataRecipe(**vars(alone)).sources == [alone]
