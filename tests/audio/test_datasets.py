import io
import struct
import wave
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from septet import data
from septet._core.errors import DataError
from septet.audio import Piece, datasets
from septet.audio.datasets._packages import drum_class
from septet.audio.datasets._soundfonts import Zone, play, read_patch, read_soundfont
from septet.signal import write_audio


def sound(path, seed=0, n=800, rate=8000):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_audio(path, np.random.default_rng(seed).uniform(-0.5, 0.5, n), rate)
    return path


def test_a_folder_names_classes_and_keeps_stray_files_apart(tmp_path):
    for i, name in enumerate(("dog/a.wav", "dog/deep/b.flac", "cat/a.wav", "stray.wav")):
        sound(tmp_path / name, i)
    (tmp_path / "dog" / "notes.txt").write_text("no sound")
    manifest = datasets.read_folder(tmp_path)
    assert manifest.labels == ("cat", "dog", "dog")
    assert manifest.classes == ("cat", "dog")
    assert manifest.faults == (("stray.wav", "lies in no class folder"),)
    with pytest.raises(DataError, match="no official split"):
        manifest.splits()


def test_a_table_gives_labels_groups_and_folds(tmp_path):
    for i in range(6):
        sound(tmp_path / f"{i}.wav", i)
    rows = "".join(f"{i}.wav,{'ab'[i % 2]},song{i // 2},{i // 2 + 1}\n" for i in range(6))
    table = tmp_path / "clips.csv"
    table.write_text(f"path,label,group,fold\n{rows}gone.wav,a,song9,1\n", "utf-8")
    manifest = datasets.read_csv(table)
    assert manifest.groups == ("song0", "song0", "song1", "song1", "song2", "song2")
    assert manifest.faults == ((str(tmp_path / "gone.wav"), "is missing"),)
    first, second, third = manifest.splits()
    assert (first.name, list(first.test), list(first.validation)) == ("fold 1", [0, 1], [2, 3])
    assert list(third.validation) == [0, 1]
    assert list(second.train) == [0, 1]
    table.write_text("path,name\n0.wav,a\n")
    with pytest.raises(DataError, match="lacks the column 'label'"):
        datasets.read_csv(table)
    table.write_text("path,label\n0.wav,\n")
    with pytest.raises(DataError, match="line 2: path and label must not be empty"):
        datasets.read_csv(table)


def test_a_fold_that_shares_a_group_is_refused(tmp_path):
    for i in range(3):
        sound(tmp_path / f"{i}.wav", i)
    table = tmp_path / "clips.csv"
    table.write_text("path,label,group,fold\n0.wav,a,x,1\n1.wav,a,x,2\n2.wav,a,y,3\n")
    with pytest.raises(DataError, match="groups are in both .*: x"):
        datasets.read_csv(table).splits()


def test_esc50_keeps_its_five_folds_and_esc10_is_a_part_of_it(tmp_path):
    rows = ["filename,fold,target,category,esc10,src_file,take"]
    for i in range(10):
        name = f"{i % 5 + 1}-{100 + i}-A-{i // 5}.wav"
        sound(tmp_path / "audio" / name, i)
        ten = "True" if i < 5 else "False"
        rows.append(f"{name},{i % 5 + 1},{i // 5},{'dog' if i < 5 else 'rain'},{ten},{100 + i},A")
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "esc50.csv").write_text("\n".join(rows))
    manifest = datasets.read_esc50(tmp_path)
    assert (len(manifest), manifest.classes, manifest.seconds) == (10, ("dog", "rain"), 5.0)
    splits = manifest.splits()
    assert [len(part.test) for part in splits] == [2] * 5
    assert [len(part.train) for part in splits] == [6] * 5
    folds = np.array(manifest.folds)
    assert set(folds[splits[4].test]) == {"5"}
    assert set(folds[splits[4].validation]) == {"1"}
    assert datasets.read_named("esc10", tmp_path).classes == ("dog",)
    with pytest.raises(DataError, match="holds no ESC-50 table"):
        datasets.read_esc50(tmp_path / "audio")


def test_urbansound8k_keeps_its_ten_folds(tmp_path):
    rows = ["slice_file_name,fsID,start,end,salience,fold,classID,class"]
    for i in range(20):
        fold = i % 10 + 1
        sound(tmp_path / "audio" / f"fold{fold}" / f"{i}-0-0-0.wav", i)
        rows.append(f"{i}-0-0-0.wav,{i},0,4,1,{fold},{i // 10},{'siren' if i < 10 else 'drilling'}")
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "UrbanSound8K.csv").write_text("\n".join(rows))
    splits = datasets.read_urbansound8k(tmp_path).splits()
    assert [part.name for part in splits][-1] == "fold 10"
    assert all(len(part.train) == 16 for part in splits)


def test_gtzan_takes_the_filtered_split_and_reports_the_file_that_cannot_be_decoded(tmp_path):
    lists = {
        "train_filtered.txt": ["blues/blues.00001.wav", "jazz/jazz.00054.wav"],
        "valid_filtered.txt": ["blues/blues.00002.wav", "rock/rock.00003.wav"],
        "test_filtered.txt": ["jazz/jazz.00001.wav"],
    }
    seed = 0
    for name, lines in lists.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        for line in lines:
            seed += 1
            sound(tmp_path / "genres" / line, seed)
    manifest = datasets.read_gtzan(tmp_path)
    assert manifest.folds == ("train", "validation", "validation", "test")
    assert manifest.faults[0][0] == "jazz.00054"
    (part,) = manifest.splits()
    assert [len(side) for side in (part.train, part.validation, part.test)] == [1, 2, 1]
    (tmp_path / "valid_filtered.txt").unlink()
    with pytest.raises(DataError, match=r"list of the filtered split: none of valid_filtered\.txt"):
        datasets.read_gtzan(tmp_path)


def test_fma_small_has_two_header_lines_and_six_broken_tracks(tmp_path):
    header = [",set,set,track,artist", ",split,subset,genre_top,id", "track_id,,,,"]
    tracks = ["2,training,small,Rock,7", "5,test,small,Folk,8", "6,test,large,Folk,8",
              "7,validation,small,Folk,9", "98565,training,small,Rock,10"]  # fmt: skip
    (tmp_path / "fma_metadata").mkdir()
    (tmp_path / "fma_metadata" / "tracks.csv").write_text("\n".join([*header, *tracks]))
    for number in (2, 5, 7):
        sound(tmp_path / "fma_small" / "000" / f"{number:06d}.mp3", number)
    manifest = datasets.read_fma_small(tmp_path)
    assert manifest.labels == ("Rock", "Folk", "Folk")
    assert manifest.folds == ("train", "test", "validation")
    assert manifest.groups == ("7", "8", "9")
    assert manifest.faults == (("098565.mp3", "is known to be cut short or empty"),)


@pytest.fixture
def commands(tmp_path):
    words = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "bed", "cat")
    for i, word in enumerate(words):
        for j, speaker in enumerate(("aa", "bb", "cc")):
            sound(tmp_path / word / f"{speaker}_nohash_0.wav", 10 * i + j, 1600, 16000)
    sound(tmp_path / "_background_noise_" / "hum.wav", 99, 160_000, 16000)
    for name, speaker in (("validation_list.txt", "bb"), ("testing_list.txt", "cc")):
        lines = [f"{word}/{speaker}_nohash_0.wav" for word in words]
        (tmp_path / name).write_text("\n".join(lines))
    return tmp_path


@pytest.mark.parametrize(("variant", "n_classes", "n_clips"), [(35, 12, 36), (10, 10, 30)])
def test_speech_commands_follow_their_lists(commands, variant, n_classes, n_clips):
    manifest = datasets.read_speech_commands(commands, variant=variant)
    assert (len(manifest.classes), len(manifest)) == (n_classes, n_clips)
    (part,) = manifest.splits()
    assert len(part.train) == len(part.validation) == len(part.test) == n_clips // 3
    assert {manifest.groups[i] for i in part.test} == {"cc"}


def test_twelve_commands_have_unknown_words_and_silence_from_noise(commands):
    manifest = datasets.read_speech_commands(commands, variant=12)
    assert {"unknown", "silence"} <= set(manifest.classes)
    assert len(manifest.classes) == 12
    silence = [c for c, k in zip(manifest.clips, manifest.labels, strict=True) if k == "silence"]
    assert len(silence) == 10
    assert isinstance(silence[0], Piece)
    folds = [f for f, k in zip(manifest.folds, manifest.labels, strict=True) if k == "silence"]
    assert [folds.count(part) for part in ("train", "validation", "test")] == [8, 1, 1]
    manifest.splits()
    (commands / "yes" / "cc_nohash_0.wav").unlink()
    faults = datasets.read_speech_commands(commands).faults
    assert faults == (("yes/cc_nohash_0.wav", "is listed but missing"),)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Kick Lite 1", "kick"),
        ("BassDrum", "kick"),
        ("bd_808", "kick"),
        ("drum_heavy_kick", "kick"),
        ("c3 - bass drum 1", "kick"),
        ("Snare Rimshot (Pearl Free Floating Maple 14x3.5)", "snare"),
        ("sn_dub", "snare"),
        ("Rim Click (Pearl Free Floating Maple 14x3.5)", None),
        ("Snare Roll", None),
        ("d#3 - clap", "hand"),
        ("Tambourine Pedal (Pearl PTM-10GH)", "hand"),
        ('Hi-Hat Semiopen (Paiste Alpha Metal edge 14")', "open hat"),
        ("Sabian Hat Open", "open hat"),
        ("Open HH", "open hat"),
        ("Hat Op Dirty", "open hat"),
        ("Closed HH 3", "closed hat"),
        ("g#3 - hi-hat pedal", "closed hat"),
        ("Sabian Hat Choke", "closed hat"),
        ("Hat Closed Bs", "closed hat"),
        ("Hat Ring 1", None),
        ("Pearl Tom Floor", "tom"),
        ("drum_tom_hi_hard", "tom"),
        ('Ride Bell (Custom, Zagrebin 22")', "cymbal"),
        ('Crash/Ride Bow (Paiste Rude Crash/Ride 18")', "cymbal"),
        ("drum_cymbal_closed", "closed hat"),
        ("drum_cymbal_soft", "cymbal"),
        ("Cowbell", None),
        ("17", None),
    ],
)
def test_drums_are_told_by_the_names_of_their_instruments(name, label):
    assert drum_class(name) == label


def test_drums_are_grouped_by_author_and_second_copies_left_out(tmp_path):
    kits, samples = tmp_path / "kits", tmp_path / "samples"
    for number, kit in enumerate(("One", "Two", "Other")):
        sound(kits / kit / "k.wav", number)
        sound(kits / kit / "both.wav", 10 + number)
        author = "Ann &lt;ann@example.org&gt;" if kit != "Other" else "Bob"
        (kits / kit / "drumkit.xml").write_text(
            f'<drumkit_info xmlns="http://example.org/x"><author>{author}</author><instrumentList>'
            "<instrument><name>Kick</name><layer><filename>k.wav</filename></layer></instrument>"
            "<instrument><name>Snare</name><filename>both.wav</filename></instrument>"
            "<instrument><name>Tom</name><filename>both.wav</filename></instrument>"
            "<instrument><name>Tom</name><filename>gone.wav</filename></instrument>"
            "</instrumentList></drumkit_info>"
        )
    (kits / "Two" / "k.wav").write_bytes((kits / "One" / "k.wav").read_bytes())
    sound(samples / "sn_dub.flac", 50)
    sound(samples / "loop_amen.flac", 51)
    manifest = datasets.read_drums(kits, samples)
    assert sorted(zip(manifest.labels, manifest.groups, strict=True)) == [
        ("kick", "ann"),
        ("kick", "bob"),
        ("snare", "sonic-pi"),
    ]
    assert "is a second copy of" in manifest.faults[0][1]


def test_announcers_are_four_people_grouped_by_prompt_and_tones_left_out(tmp_path):
    folders = {}
    for number, language in enumerate(("en", "es", "fr", "it", "ru")):
        folders[language] = tmp_path / language
        for i, name in enumerate(("hello.wav", "digits/1.wav", "beep.wav", "silence/1.wav")):
            sound(folders[language] / name, 10 * number + i)
    write_audio(folders["ru"] / "is.wav", np.zeros(0), 8000)
    manifest = datasets.read_announcers(folders)
    assert manifest.faults == ((str(folders["ru"] / "is.wav"), "holds no samples"),)
    assert len(manifest) == 10
    assert set(manifest.groups) == {"hello", "digits/1"}
    counts = Counter(manifest.labels)
    assert counts["Allison Smith"] == 4  # both her languages
    assert counts["Carlo Flora"] == 2
    assert len(counts) == 4


@pytest.mark.parametrize("name", ["hydrogen-drumkits", "asterisk-en-wav"])
def test_a_package_that_is_missing_is_an_error_that_says_how_to_fetch_it(
    name, monkeypatch, tmp_path
):
    monkeypatch.setenv("SEPTET_CACHE", str(tmp_path))
    monkeypatch.setenv("SEPTET_DATA", str(tmp_path))
    read = datasets.read_drums if "drum" in name else datasets.read_announcers
    if data.available(name):
        pytest.skip("installed as a system package")
    with pytest.raises(DataError, match=f"septet data fetch {name}"):
        read()


def test_a_note_is_the_recorded_sample_at_another_speed():
    times = np.arange(16000) / 16000
    zone = Zone(np.sin(2 * np.pi * 440 * times).astype(np.float32), 16000, 0, 127, 69.0, None)
    played = play([zone], 57, 16000, 0.5)
    expected = np.sin(2 * np.pi * 220 * times[:8000])
    np.testing.assert_allclose(played[:7000], expected[:7000], atol=0.02)
    assert play([zone], 57, 16000, 9.0) is None
    assert play([Zone(zone.samples, 16000, 60, 72, 69.0, None)], 57, 16000, 0.5) is None


def test_a_loop_goes_on_where_it_began():
    sample = np.concatenate([np.zeros(100), np.tile([0.0, 0.5, 1.0, 0.5], 25)]).astype(np.float32)
    zone = Zone(sample, 8000, 0, 127, 60.0, (100, 200))
    played = play([zone], 60, 8000, 0.5)
    np.testing.assert_allclose(played[100:3500], np.tile([0, 0.5, 1, 0.5], 850), atol=1e-6)


def chunk(name, body):
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def soundfont(vorbis):
    tone = (20000 * np.sin(2 * np.pi * 440 / 8000 * np.arange(4000))).astype("<i2")
    if vorbis:
        stream = io.BytesIO()
        soundfile.write(stream, tone, 8000, format="OGG", subtype="VORBIS")
        pool, end, kind = stream.getvalue(), len(stream.getvalue()), 0x11
    else:
        pool, end, kind = tone.tobytes(), 4000, 1
    sample = struct.pack("<20sIIIIIBbHH", b"tone", 0, end, 100, 3900, 8000, 69, 0, 0, kind)
    tables = {
        b"phdr": struct.pack("<20sHHHIII", b"piano", 3, 0, 0, 0, 0, 0)
        + struct.pack("<20sHHHIII", b"drums", 0, 128, 1, 0, 0, 0)
        + struct.pack("<20sHHHIII", b"EOP", 0, 0, 1, 0, 0, 0),
        b"pbag": struct.pack("<HHHH", 0, 0, 1, 0),
        b"pgen": struct.pack("<HhHh", 41, 0, 0, 0),
        b"inst": struct.pack("<20sH20sH", b"i", 0, b"EOI", 2),
        b"ibag": struct.pack("<HHHHHH", 0, 0, 1, 0, 3, 0),
        b"igen": struct.pack("<HhHhHhHh", 54, 1, 43, 40 | 80 << 8, 53, 0, 0, 0),
        b"shdr": sample + struct.pack("<20sIIIIIBbHH", b"EOS", 0, 0, 0, 0, 0, 0, 0, 0, 0),
    }
    pdta = b"pdta" + b"".join(chunk(name, body) for name, body in tables.items())
    body = b"sfbk" + chunk(b"LIST", b"sdta" + chunk(b"smpl", pool)) + chunk(b"LIST", pdta)
    return chunk(b"RIFF", body)


@pytest.mark.parametrize("vorbis", [False, True])
def test_a_sound_font_gives_zones_with_keys_root_and_loop(tmp_path, vorbis):
    path = tmp_path / "font.sf2"
    path.write_bytes(soundfont(vorbis))
    programs = read_soundfont(path)
    assert set(programs) == {3}
    (zone,) = programs[3]
    assert (zone.low, zone.high, zone.root, zone.sample_rate) == (40, 80, 69, 8000)
    assert zone.loop == (100, 3900)
    assert abs(np.abs(zone.samples).max() - 20000 / 32768) < 0.05
    (tmp_path / "bad.sf2").write_bytes(b"RIFF\4\0\0\0sfbk")
    with pytest.raises(DataError, match="is no sound font"):
        read_soundfont(tmp_path / "bad.sf2")


def test_a_gravis_patch_gives_zones_in_either_width_and_sign(tmp_path):
    tone = 0.5 * np.sin(2 * np.pi * 440 / 8000 * np.arange(2000))
    bodies = [
        ((32767 * tone).astype("<i2").tobytes(), 1 | 4, 200),
        (np.round(127 * tone + 128).astype("u1").tobytes(), 2, 100),
    ]
    content = b"GF1PATCH110\0" + b"\0" * 186 + bytes([len(bodies)]) + b"\0" * 40
    for body, mode, loop in bodies:
        header = bytearray(96)
        struct.pack_into("<III", header, 8, len(body), loop, len(body) - loop)
        struct.pack_into("<HIII", header, 20, 8000, 65406, 1046502, 440000)
        header[55] = mode
        content += bytes(header) + body
    path = tmp_path / "040_Violin.pat"
    path.write_bytes(content)
    sixteen, eight = read_patch(path)
    np.testing.assert_allclose(sixteen.samples, tone, atol=1e-4)
    np.testing.assert_allclose(eight.samples, tone, atol=0.01)
    assert (sixteen.low, sixteen.high, sixteen.root) == (36, 84, 69)
    assert sixteen.loop == (100, 1900)
    assert eight.loop is None
    path.write_bytes(b"something else")
    with pytest.raises(DataError, match="is no Gravis patch"):
        read_patch(path)


class Planter:
    """Writes a file of every kind that a scan must find."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.rng = np.random.default_rng(0)
        self.noise = self.rng.uniform(-0.5, 0.5, 4000)

    def write(self, name, samples, rate=8000, **kwargs):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, rate, **kwargs)
        return path

    def plant(self):
        for i in range(3):
            self.write(f"a/good{i}.wav", self.rng.uniform(-0.5, 0.5, 4000))
        (self.root / "a" / "empty.wav").touch()
        (self.root / "a" / "folder.wav").mkdir()
        (self.root / "a" / "missing.wav").symlink_to("nowhere.wav")
        (self.root / "a" / "undecodable.wav").write_text("this is no sound")
        with wave.open(str(self.root / "a" / "no samples.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
        cut = self.write("a/cut short.wav", self.noise)
        cut.write_bytes(cut.read_bytes()[:2000])
        self.write("a/wrong ending.wav", self.noise + 0.01, format="FLAC")
        bad = self.noise + 0.02
        bad[7] = np.inf
        self.write("a/not finite.wav", bad, subtype="FLOAT")
        self.write("a/silent.wav", np.zeros(4000))
        self.write("a/constant.wav", np.full(4000, 0.25))
        self.write("a/clipped.wav", np.clip(5 * np.sin(np.arange(4000) / 9), -0.9, 0.9))
        self.write("a/too short.wav", self.rng.uniform(-0.5, 0.5, 40))
        self.write("a/low rate.wav", self.rng.uniform(-0.5, 0.5, 2000), rate=4000)
        original = self.root / "a" / "good0.wav"
        (self.root / "a" / "zcopy.wav").write_bytes(original.read_bytes())
        (self.root / "b").mkdir()
        (self.root / "b" / "other class.wav").write_bytes(original.read_bytes())


def test_a_scan_finds_every_kind_of_bad_file_and_nothing_else(tmp_path):
    Planter(tmp_path).plant()
    seen = []
    faults = datasets.scan(
        tmp_path, sample_rate=8000, min_seconds=0.1, progress=lambda *of: seen.append(of)
    )
    found = {(Path(fault.path).name, fault.kind) for fault in faults}
    by_name = {
        "empty", "folder", "missing", "undecodable", "no samples", "cut short", "wrong ending",
        "not finite", "silent", "constant", "clipped", "too short", "low rate",
    }  # fmt: skip
    assert len(by_name) >= 12
    expected = {(f"{kind}.wav", kind) for kind in by_name}
    expected |= {("zcopy.wav", "copy"), ("other class.wav", "copy across classes")}
    assert found == expected
    assert seen[-1] == (18, 18)


def test_a_scan_of_sound_files_finds_nothing(tmp_path):
    paths = [sound(tmp_path / f"{i}.flac", i, 4000) for i in range(3)]
    assert datasets.scan(tmp_path, sample_rate=8000, min_seconds=0.5) == []
    assert datasets.scan(paths[0]) == []
    assert [f.kind for f in datasets.scan([*paths, tmp_path / "gone.wav"])] == ["missing"]
    with pytest.raises(DataError, match="holds no file with the ending"):
        (tmp_path / "none").mkdir()
        datasets.scan(tmp_path / "none")
    with pytest.raises(DataError, match="does not exist"):
        datasets.scan(tmp_path / "nowhere")


def test_faults_are_written_as_a_table(tmp_path):
    faults = [datasets.Fault("a, b.wav", "silent", 'every sample is "0"')]
    datasets.write_faults(faults, tmp_path / "faults.csv")
    text = (tmp_path / "faults.csv").read_text("utf-8")
    assert text == 'path,kind,detail\n"a, b.wav",silent,"every sample is ""0"""\n'


def test_copies_in_subfolders_of_one_class_are_of_one_class(tmp_path):
    for place in ("cat/day/a", "cat/night/b", "dog/c"):
        path = tmp_path / f"{place}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        sound(path, 1, 4000)
    kinds = {Path(fault.path).stem: fault.kind for fault in datasets.scan(tmp_path)}
    assert kinds == {"b": "copy", "c": "copy across classes"}
