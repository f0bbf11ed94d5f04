using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;

namespace Blkring.Integration.Tests;

/// <summary><c>blkring demo</c> when nothing is wrong.</summary>
public sealed class DemoTests : IDisposable
{
    private const int ImageBytes = 8 << 20;

    private readonly TempDirectory _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("native")]
    [InlineData("x86_32")]
    [InlineData("x86_64")]
    public void An_abi_is_served_and_its_row_printed(string abi)
    {
        using BlkringProcess blkring = BlkringProcess.Run(_folder.Path, "demo", "--seconds", "0.3", "--abi", abi);

        AssertOk(blkring);
        string[] row = RowsOf(blkring, abi)[0];
        Assert.Equal("1", row[1]);
        long requests = Number(row[2]);
        Assert.True(requests > 0);
        Assert.Equal(requests, Number(row[8]));
        Assert.Equal(["0", "0"], row[9..]);
        Assert.True(_folder.HoldsNothingOfBlkring(), "the temporary image stays behind");
    }

    [Fact]
    public void All_abis_are_served_at_several_depths_without_being_asked()
    {
        using BlkringProcess blkring = BlkringProcess.Run(_folder.Path, "demo", "--seconds", "0.3");

        AssertOk(blkring);
        foreach (string abi in (string[])["native", "x86_32", "x86_64"])
            Assert.Equal(["1", "8", "32"], RowsOf(blkring, abi).Select(row => row[^10]));
        Assert.Contains("read back: ", blkring.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_no_terminal_gets_no_escape_sequences_and_no_progress()
    {
        using BlkringProcess blkring = BlkringProcess.Run(_folder.Path, "demo", "--seconds", "0.3", "--abi", "native");

        AssertOk(blkring);
        Assert.DoesNotContain('\e', blkring.Output);
        Assert.DoesNotContain('\r', blkring.Output);
        Assert.DoesNotContain('…', blkring.Output);
    }

    [Theory]
    [InlineData("1")]
    [InlineData("2")]
    public void The_figures_of_the_json_add_up(string processes)
    {
        using BlkringProcess blkring = BlkringProcess.Run(
            _folder.Path,
            "demo",
            "--json",
            "--seconds",
            "0.6",
            "--processes",
            processes,
            "--seed",
            "7"
        );

        AssertOk(blkring, verdict: false);
        using JsonDocument document = JsonDocument.Parse(blkring.Output);
        JsonElement root = document.RootElement;
        Assert.True(root.GetProperty("ok").GetBoolean());
        Assert.Equal(7, root.GetProperty("options").GetProperty("seed").GetInt32());
        Assert.Equal(
            processes,
            root.GetProperty("options").GetProperty("processes").GetInt32().ToString(CultureInfo.InvariantCulture)
        );
        Assert.Equal(9, root.GetProperty("rows").GetArrayLength());
        Assert.Equal(3, root.GetProperty("sweeps").GetArrayLength());
        foreach (JsonElement row in root.GetProperty("rows").EnumerateArray())
            AssertAddsUp(row);
    }

    private static void AssertAddsUp(JsonElement row)
    {
        long Count(string name) => row.GetProperty(name).GetInt64();
        double Figure(string name) => row.GetProperty(name).GetDouble();

        Assert.Equal(Count("operations"), Count("reads") + Count("writes") + Count("flushes") + Count("discards"));
        Assert.Equal(Count("operations"), Count("verified"));
        Assert.Equal(Count("operations") / Figure("seconds"), Figure("iops"), precision: 3);
        Assert.Equal(Count("bytes") / Figure("seconds") / 1e6, Figure("megabytesPerSecond"), precision: 3);
        Assert.InRange(Figure("seconds"), 0.2, 10);
        Assert.True(Count("reads") > 0 && Count("writes") > 0);
        Assert.True(0 < Figure("p50Us") && Figure("p50Us") <= Figure("p99Us") && Figure("p99Us") <= Figure("p999Us"));
        Assert.Equal(0, Count("errors") + Count("wrongSectors") + Count("allocatedBytes") + Count("collections"));
    }

    [Theory]
    [InlineData("1")]
    [InlineData("2")]
    public void A_named_image_is_only_read_unless_asked(string processes)
    {
        string image = _folder.WriteImage("disk.img", ImageBytes);
        byte[] before = HashOf(image);

        using BlkringProcess blkring = BlkringProcess.Run(
            _folder.Path,
            "demo",
            "--seconds",
            "0.3",
            "--image",
            image,
            "--processes",
            processes
        );

        AssertOk(blkring);
        Assert.Contains("read-only (as asked)", blkring.Output, StringComparison.Ordinal);
        Assert.Equal(before, HashOf(image));
    }

    [Theory]
    [InlineData("direct")]
    [InlineData("buffered")]
    public void With_write_the_named_image_is_overwritten_and_stays(string cache)
    {
        string image = _folder.WriteImage("disk.img", ImageBytes);
        byte[] before = HashOf(image);

        using BlkringProcess blkring = BlkringProcess.Run(
            _folder.Path,
            "demo",
            "--seconds",
            "0.3",
            "--image",
            image,
            "--write",
            "--cache",
            cache
        );

        AssertOk(blkring);
        Assert.Contains("is overwritten", blkring.Output, StringComparison.Ordinal);
        Assert.NotEqual(before, HashOf(image));
        Assert.Equal(ImageBytes, new FileInfo(image).Length);
    }

    [Fact]
    public void Write_without_an_image_changes_nothing_for_the_temporary_one_is_written_anyway()
    {
        using BlkringProcess blkring = BlkringProcess.Run(
            _folder.Path,
            "demo",
            "--seconds",
            "0.1",
            "--abi",
            "native",
            "--write"
        );

        AssertOk(blkring);
        Assert.True(_folder.HoldsNothingOfBlkring());
    }

    [Theory]
    [InlineData("2", "64")]
    [InlineData("16", "512")]
    public void A_ring_of_several_pages_is_filled(string pages, string depth)
    {
        using BlkringProcess blkring = BlkringProcess.Run(
            _folder.Path,
            "demo",
            "--seconds",
            "0.3",
            "--disk",
            "memory",
            "--ring-pages",
            pages,
            "--iodepth",
            depth
        );

        AssertOk(blkring);
        Assert.Equal(depth, RowsOf(blkring, "x86_32")[0][1]);
    }

    [Theory]
    [InlineData("--queues 3 --threads 2", "3 queues, each with the depth shown, 2 threads")]
    [InlineData("--grants map", "pages mapped")]
    [InlineData("--grants persistent", "persistent grants")]
    [InlineData("--indirect 64", "INDIRECT of 64 segments")]
    [InlineData("--indirect 600 --grants persistent --ring-pages 2", "persistent grants, INDIRECT of 600 segments")]
    [InlineData("--poll-window 0", "no busy polling")]
    [InlineData("--iops 3000", "at most 3,000 requests per second")]
    [InlineData("--bandwidth 40", "at most 40 MB/s")]
    [InlineData("--sector-size 4096", "sectors of 4096 bytes")]
    [InlineData(
        "--queues 2 --threads 2 --grants map --indirect 64 --poll-window 10 "
            + "--iops 9000 --bandwidth 500 --sector-size 4096",
        "2 queues"
    )]
    [Proves("F3", "F4", "F6", "F13", "F17")]
    public void Each_feature_serves_every_abi(string switches, string said)
    {
        using BlkringProcess blkring = BlkringProcess.Run(
            _folder.Path,
            ["demo", "--seconds", "0.2", "--iodepth", "8", "--disk", "memory", .. switches.Split(' ')]
        );

        AssertOk(blkring);
        Assert.Contains($"\nserves  {said}", blkring.Output, StringComparison.Ordinal);
        foreach (string abi in (string[])["native", "x86_32", "x86_64"])
        {
            string[] row = RowsOf(blkring, abi)[0];
            Assert.Equal(row[2], row[8]);
            Assert.Equal(["0", "0"], row[9..]);
        }
    }

    [Theory]
    [InlineData("--queues 4 --threads 2")]
    [InlineData("--indirect 256")]
    [InlineData("--grants map --sector-size 4096")]
    [InlineData("--io sync --queues 2 --sector-size 4096")]
    [InlineData("--processes 2 --indirect 64 --grants persistent")]
    public void Features_work_over_a_file_too(string switches)
    {
        using BlkringProcess blkring = BlkringProcess.Run(
            _folder.Path,
            ["demo", "--seconds", "0.2", "--iodepth", "8", "--abi", "x86_32", .. switches.Split(' ')]
        );

        AssertOk(blkring);
        Assert.True(_folder.HoldsNothingOfBlkring());
    }

    [Fact]
    [Proves("F3")]
    public void Several_rings_read_a_named_image_as_it_is()
    {
        string image = _folder.WriteImage("disk.img", ImageBytes);
        byte[] before = HashOf(image);

        using BlkringProcess blkring = BlkringProcess.Run(
            _folder.Path,
            "demo",
            "--seconds",
            "0.3",
            "--image",
            image,
            "--queues",
            "4",
            "--threads",
            "2",
            "--abi",
            "native"
        );

        AssertOk(blkring);
        Assert.Equal(before, HashOf(image));
    }

    [Fact]
    [Proves("F21")]
    public void Every_feature_is_compared_with_its_absence()
    {
        using BlkringProcess blkring = BlkringProcess.Run(
            _folder.Path,
            "demo",
            "--compare",
            "all",
            "--json",
            "--seconds",
            "0.4",
            "--disk",
            "memory"
        );

        AssertOk(blkring, verdict: false);
        using JsonDocument document = JsonDocument.Parse(blkring.Output);
        JsonElement root = document.RootElement;
        Assert.True(root.GetProperty("ok").GetBoolean());
        Assert.Equal(0, root.GetProperty("rows").GetArrayLength());
        JsonElement[] rows = [.. root.GetProperty("comparisons").EnumerateArray()];
        Assert.Equal(
            ["queues", "threads", "map", "persistent", "indirect", "poll", "iops", "bandwidth", "sectors"],
            rows.Select(row => row.GetProperty("feature").GetString())
        );
        foreach (JsonElement row in rows)
        {
            Assert.Equal("x86_64", row.GetProperty("abi").GetString());
            Assert.True(row.GetProperty("rateWith").GetDouble() > 0 && row.GetProperty("rateWithout").GetDouble() > 0);
            Assert.InRange(
                row.GetProperty("ratio").GetDouble(),
                row.GetProperty("ratioMin").GetDouble(),
                row.GetProperty("ratioMax").GetDouble()
            );
            Assert.True(row.GetProperty("verified").GetInt64() > 0);
            Assert.Equal(0, row.GetProperty("allocatedBytes").GetInt64() + row.GetProperty("collections").GetInt64());
        }
    }

    [Fact]
    public void A_feature_is_compared_in_every_abi_when_asked()
    {
        using BlkringProcess blkring = BlkringProcess.Run(
            _folder.Path,
            "demo",
            "--compare",
            "indirect",
            "--abi",
            "all",
            "--seconds",
            "0.4",
            "--disk",
            "memory"
        );

        AssertOk(blkring);
        foreach (string abi in (string[])["native", "x86_32", "x86_64"])
            Assert.Single(
                blkring.Output.Split('\n'),
                line =>
                    line.StartsWith($" {abi} ", StringComparison.Ordinal)
                    && line.Contains("11 segments", StringComparison.Ordinal)
            );
    }

    [Fact]
    public void Without_io_uring_one_line_says_so()
    {
        using BlkringProcess blkring = BlkringProcess.Run(
            _folder.Path,
            "demo",
            "--seconds",
            "0.3",
            "--abi",
            "x86_64",
            "--io",
            "sync"
        );

        AssertOk(blkring);
        Assert.Single(
            blkring.Output.Split('\n'),
            line =>
                line.StartsWith("engine ", StringComparison.Ordinal)
                && line.Contains("without io_uring: as asked", StringComparison.Ordinal)
        );
    }

    [Fact]
    public void Two_processes_serve_every_abi()
    {
        using BlkringProcess blkring = BlkringProcess.Run(_folder.Path, "demo", "--seconds", "0.3", "--processes", "2");

        AssertOk(blkring);
        Assert.Contains("frontend in another process", blkring.Output, StringComparison.Ordinal);
        Assert.True(_folder.HoldsNothingOfBlkring(), "the socket or the image stays behind");
    }

    [Fact]
    public void Two_demos_at_once_do_not_meet()
    {
        using BlkringProcess first = BlkringProcess.Start(_folder.Path, "demo", "--seconds", "0.3", "--processes", "2");
        using BlkringProcess second = BlkringProcess.Start(
            _folder.Path,
            "demo",
            "--seconds",
            "0.3",
            "--processes",
            "2"
        );
        first.WaitForExit();
        second.WaitForExit();

        AssertOk(first);
        AssertOk(second);
    }

    [Theory]
    [InlineData("")]
    [InlineData("--help")]
    [InlineData("demo --help")]
    public void Help_is_printed_and_is_no_error(string arguments)
    {
        using BlkringProcess blkring = BlkringProcess.Run(
            _folder.Path,
            arguments.Split(' ', StringSplitOptions.RemoveEmptyEntries)
        );

        AssertOk(blkring, verdict: false);
        Assert.Contains("Example:", blkring.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("demo-frontend", blkring.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void The_version_is_one_line()
    {
        using BlkringProcess blkring = BlkringProcess.Run(_folder.Path, "--version");

        AssertOk(blkring, verdict: false);
        Assert.Matches(@"^\d+\.\d+\.\d+\S*\n$", blkring.Output);
    }

    private static void AssertOk(BlkringProcess blkring, bool verdict = true)
    {
        Assert.Equal("", blkring.Errors);
        Assert.True(blkring.ExitCode == 0, blkring.Output);
        if (verdict)
            Assert.Contains("\nevery byte right: ", blkring.Output, StringComparison.Ordinal);
    }

    /// <summary>
    /// The rows of an ABI, split at blanks: ten figures each, with the ABI's name before those of the first row.
    /// </summary>
    private static List<string[]> RowsOf(BlkringProcess blkring, string abi)
    {
        List<string[]> rows = [];
        foreach (
            string line in blkring
                .Output.Split('\n')
                .SkipWhile(line => !line.StartsWith(" " + abi + " ", StringComparison.Ordinal))
        )
        {
            string[] cells = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (cells.Length < 10)
                break;
            rows.Add(cells);
        }
        return rows;
    }

    private static long Number(string cell) =>
        long.Parse(cell, NumberStyles.AllowThousands, CultureInfo.InvariantCulture);

    private static byte[] HashOf(string file)
    {
        using FileStream stream = File.OpenRead(file);
        return SHA256.HashData(stream);
    }
}
