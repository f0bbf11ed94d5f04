using System.CommandLine;
using System.Globalization;
using Blkring.Engine.Disks;
using Blkring.Engine.Reactors;
using Blkring.Engine.Telemetry;
using Blkring.Interop;
using Spectre.Console;

namespace Blkring.Load;

/// <summary>
/// How much a guest that floods its ring delays another guest on the same thread: the other's latency alone, and beside
/// the flood.
/// </summary>
internal static class FairCommand
{
    public static Command Create()
    {
        Option<double> seconds = CommonOptions.Seconds(1);
        Option<int> rounds = CommonOptions.Rounds("Number of measurements alone and beside the flood, in turn");
        Option<int> cpu = CommonOptions.Cpu();
        Option<bool> json = CommonOptions.Json();
        Command command = new(
            "fair",
            "Latency of a guest's 4 KiB reads at depth 1, alone and beside a guest that floods the same thread"
        )
        {
            seconds,
            rounds,
            cpu,
            json,
        };
        command.SetAction(parsed =>
        {
            List<Row> rows = [];
            string image = DiskCommand.MakeImage(Path.GetTempPath());
            try
            {
                foreach (Flood flood in s_floods)
                {
                    rows.Add(
                        Measure(
                            new MemoryDisk(256L << 11),
                            flood,
                            parsed.GetValue(seconds),
                            parsed.GetValue(rounds),
                            parsed.GetValue(cpu)
                        )
                    );
                    rows.Add(
                        Measure(
                            FileDisk.Open(image, new FileDiskOptions { Writable = true }),
                            flood,
                            parsed.GetValue(seconds),
                            parsed.GetValue(rounds),
                            parsed.GetValue(cpu)
                        )
                    );
                }
            }
            finally
            {
                File.Delete(image);
            }
            if (parsed.GetValue(json))
                PrintJson(rows);
            else
                Draw(rows);
            return 0;
        });
        return command;
    }

    /// <param name="Pages">The number of pages of each request.</param>
    private sealed record Flood(string Name, int RingPages, int Depth, int Pages, bool Write);

    private static readonly Flood[] s_floods =
    [
        new("44 KiB reads, depth 512", 16, 512, 11, Write: false),
        new("44 KiB writes, depth 512", 16, 512, 11, Write: true),
        new("1 MiB INDIRECT reads, depth 32", 1, 32, 256, Write: false),
    ];

    /// <param name="Disk">The disk of the guest that floods.</param>
    private sealed record Row(
        string Disk,
        string Flood,
        double AloneP50Us,
        double AloneP99Us,
        double BesideP50Us,
        double BesideP99Us,
        double RatioP50,
        double RatioP99,
        double FloodMegabytesPerSecond,
        long AllocatedBytes
    );

    /// <summary>
    /// Measures with one thread for both guests; the flood runs in every second measurement. The victim's disk is in
    /// memory, because two guests on one store would delay each other there as well, which is not the question.
    /// </summary>
    /// <param name="disk">The disk of the guest that floods; owned from here on.</param>
    private static Row Measure(Disk disk, Flood flood, double seconds, int rounds, int cpu)
    {
        int other = CommonOptions.OtherThan(cpu);
        using Reactor reactor = new(new ReactorOptions { Cpu = cpu });
        using LoadedGuest victim = new(new MemoryDisk(8 << 11), reactor, domain: 1, new GuestLoadOptions { Depth = 1 });
        using LoadedGuest flooder = new(
            disk,
            reactor,
            domain: 2,
            new GuestLoadOptions
            {
                Depth = flood.Depth,
                Pages = flood.Pages,
                Write = flood.Write,
            },
            flood.RingPages
        );
        CpuAffinity.PinCurrentThread(other);
        victim.Run(Math.Min(0.5, seconds));

        List<LatencyHistogram> alone = [],
            beside = [];
        List<double> flooded = [];
        long allocated = reactor.AllocatedBytes;
        for (int round = 0; round < rounds; round++)
        {
            alone.Add(victim.Run(seconds));
            using (Flooding flooding = new(flooder.NewLoad(), other))
            {
                beside.Add(victim.Run(seconds));
                flooded.Add(flooding.End() * flood.Pages * 4096.0 / 1e6 / seconds);
            }
        }
        double Ratio(double quantile) =>
            Comparison.Median(alone.Zip(beside, (a, b) => (double)b.ValueAt(quantile) / a.ValueAt(quantile)));
        static double Us(List<LatencyHistogram> of, double quantile) =>
            Comparison.Median(of.Select(latency => latency.ValueAt(quantile) / 1e3));
        return new Row(
            disk is MemoryDisk ? "memory" : "file",
            flood.Name,
            Us(alone, 0.5),
            Us(alone, 0.99),
            Us(beside, 0.5),
            Us(beside, 0.99),
            Ratio(0.5),
            Ratio(0.99),
            Comparison.Median(flooded),
            reactor.AllocatedBytes - allocated
        );
    }

    /// <summary>A load that runs on a thread of its own until it is ended.</summary>
    private sealed class Flooding : IDisposable
    {
        private const double ForLongSeconds = 3600;

        private readonly GuestLoad _load;
        private readonly Task<long> _answered;

        public Flooding(GuestLoad load, int cpu)
        {
            _load = load;
            using ManualResetEventSlim started = new();
            _answered = Task.Factory.StartNew(
                () =>
                {
                    CpuAffinity.PinCurrentThread(cpu);
                    started.Set();
                    return load.Run(ForLongSeconds, new LatencyHistogram());
                },
                CancellationToken.None,
                TaskCreationOptions.LongRunning,
                TaskScheduler.Default
            );
            started.Wait();
        }

        /// <returns>The number of requests answered.</returns>
        public long End()
        {
            _load.Stop();
            return _answered.GetAwaiter().GetResult();
        }

        public void Dispose() => End();
    }

    private static void Draw(List<Row> rows)
    {
        Table table = new Table()
            .Border(TableBorder.Simple)
            .Title("4 KiB reads at depth 1, \u00b5s, alone and beside a flood on the same thread");
        foreach (string column in (string[])["flooder's disk", "flood"])
            table.AddColumn(column);
        foreach (
            string column in (string[])["p50 alone", "beside", "ratio", "p99 alone", "beside", "ratio", "flood MB/s"]
        )
            table.AddColumn(new TableColumn(column).RightAligned());
        foreach (Row row in rows)
        {
            table.AddRow(
                row.Disk,
                row.Flood,
                Text(row.AloneP50Us),
                Text(row.BesideP50Us),
                Text(row.RatioP50),
                Text(row.AloneP99Us),
                Text(row.BesideP99Us),
                Text(row.RatioP99),
                row.FloodMegabytesPerSecond.ToString("N0", CultureInfo.InvariantCulture)
            );
        }
        Output.Draw(table);
        Console.WriteLine($"bytes allocated by the data path: {rows.Sum(row => row.AllocatedBytes)}");
    }

    private static string Text(double value) => value.ToString("N1", CultureInfo.InvariantCulture);

    private static void PrintJson(List<Row> rows) =>
        Output.PrintJson(writer =>
            Output.WriteRows(
                writer,
                rows,
                row =>
                {
                    writer.WriteString("disk", row.Disk);
                    writer.WriteString("flood", row.Flood);
                    writer.WriteNumber("aloneP50Us", row.AloneP50Us);
                    writer.WriteNumber("aloneP99Us", row.AloneP99Us);
                    writer.WriteNumber("besideP50Us", row.BesideP50Us);
                    writer.WriteNumber("besideP99Us", row.BesideP99Us);
                    writer.WriteNumber("ratioP50", row.RatioP50);
                    writer.WriteNumber("ratioP99", row.RatioP99);
                    writer.WriteNumber("floodMegabytesPerSecond", row.FloodMegabytesPerSecond);
                    writer.WriteNumber("allocatedBytes", row.AllocatedBytes);
                }
            )
        );
}
