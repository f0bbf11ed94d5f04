using System.CommandLine;
using System.Globalization;
using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Interop;
using Blkring.Loopback;
using Spectre.Console;

namespace Blkring.Load;

/// <summary>
/// A guest that writes and flushes its own image, alone and beside a disk that hangs on the same thread, for each kind
/// of hang: the requests of it that wait for the hung disk, and its latency.
/// </summary>
internal static class HungCommand
{
    /// <summary>The greatest ratio of p99 that is acceptable.</summary>
    private const double Target = 1.2;

    private const long HungSectors = 1 << 16;

    public static Command Create()
    {
        Option<double> seconds = CommonOptions.Seconds(1);
        Option<int> rounds = CommonOptions.Rounds("Number of measurements alone, alone again and beside, in turn");
        Option<int> cpu = CommonOptions.Cpu();
        Option<bool> json = CommonOptions.Json();
        Command command = new(
            "hung",
            "Writes and flushes of a guest, alone and beside a disk that hangs on the same thread. Needs root, and a "
                + "folder for temporary files that is not on tmpfs"
        )
        {
            seconds,
            rounds,
            cpu,
            json,
        };
        command.SetAction(parsed =>
        {
            if (HangingMemory.TryCreate(HangingDisk.HangBytes) is not { } possible)
            {
                Console.Error.WriteLine("blkring-load: userfaultfd is refused: run it as root");
                return 2;
            }
            possible.Dispose();
            string image = DiskCommand.MakeImage(Path.GetTempPath());
            try
            {
                Row[] rows =
                [
                    .. s_hangs.Select(hang =>
                        Measure(hang, image, parsed.GetValue(seconds), parsed.GetValue(rounds), parsed.GetValue(cpu))
                    ),
                ];
                if (parsed.GetValue(json))
                    PrintJson(rows);
                else
                    Draw(rows);
                return rows.All(row => row.Holds) ? 0 : 1;
            }
            finally
            {
                File.Delete(image);
            }
        });
        return command;
    }

    /// <param name="InKernel">Whether operations wait within the kernel; if not, the store just never answers.</param>
    private sealed record Hang(string Name, bool UseIoUring, bool InKernel);

    private static readonly Hang[] s_hangs =
    [
        new("writes wait on the kernel's workers", UseIoUring: true, InKernel: true),
        new("writes wait on the disk's thread, no io_uring", UseIoUring: false, InKernel: true),
        new("the store never answers", UseIoUring: true, InKernel: false),
    ];

    private sealed record Row(string Hang, long Requests, int Waiting, BesideRatio Ratio)
    {
        public bool Holds => Waiting == 0 && Ratio.Holds;
    }

    private static Row Measure(Hang hang, string image, double seconds, int rounds, int cpu)
    {
        int other = CommonOptions.OtherThan(cpu);
        using Reactor reactor = new(new ReactorOptions { Cpu = cpu, UseIoUring = hang.UseIoUring });
        GuestLoadOptions work = new()
        {
            Write = true,
            Depth = 8,
            FlushEvery = 32,
        };
        using LoadedGuest victim = new(
            FileDisk.Open(image, new FileDiskOptions { Writable = true }),
            reactor,
            domain: 1,
            work
        );
        CpuAffinity.PinCurrentThread(other);
        victim.Run(Math.Min(0.5, seconds));

        BesideRatio ratio = new(Target);
        long requests = 0;
        int waiting = 0;
        for (int round = 0; round < rounds && waiting == 0; round++)
        {
            ratio.AddAlone(victim.Run(seconds).ValueAt(0.99), victim.Run(seconds).ValueAt(0.99));
            using HungGuest hung = new(hang, reactor);
            try
            {
                ratio.AddBeside(victim.Run(seconds, out long answered).ValueAt(0.99));
                requests += answered;
            }
            catch (SilentBackendException silence)
            {
                waiting += silence.Unanswered;
            }
        }
        return new Row(hang.Name, requests, waiting, ratio);
    }

    /// <summary>A guest with a ring full of writes to a disk that hangs, until it is disposed.</summary>
    private sealed class HungGuest : LoadedGuest
    {
        private readonly Store _store;

        public HungGuest(Hang hang, Reactor reactor)
            : this(new Store(hang), reactor) { }

        private HungGuest(Store store, Reactor reactor)
            : base(store.Disk, reactor, domain: 2, new GuestLoadOptions())
        {
            _store = store;
            int writes = Frontend.EntryCount;
            for (int i = 0; i < writes; i++)
            {
                Blkif.DecodedRequest request = default;
                request.Operation = Blkif.OpWrite;
                request.Id = (ulong)i;
                request.NrSegments = 1;
                request.SectorNumber = (ulong)i * 64;
                request.Seg[0].Gref = Frontend.GrantOf(i, 0, true).Value;
                request.Seg[0].LastSect = RequestValidator.SectorsPerPage - 1;
                Frontend.Put(in request);
            }
            Frontend.Push();
            SpinWait.SpinUntil(() => Vbd!.Queue!.InFlight == writes);
        }

        public override void Dispose()
        {
            _store.Release();
            base.Dispose();
            _store.Dispose();
        }
    }

    /// <summary>A disk that hangs until it is released.</summary>
    private sealed class Store : IDisposable
    {
        private readonly string _path = Path.Combine(Path.GetTempPath(), $"blkring-hung-{Environment.ProcessId}.img");
        private readonly HangingMemory? _memory;

        public Store(Hang hang)
        {
            if (!hang.InKernel)
            {
                Disk = new SilentDisk(HungSectors);
                return;
            }
            using (FileStream file = File.Create(_path))
                file.SetLength(HungSectors * Disk.SectorBytes);
            _memory = HangingMemory.TryCreate(32 * HangingDisk.HangBytes)!;
            Disk = new HangingDisk(_path, _memory, HungSectors);
        }

        public Disk Disk { get; }

        public void Release()
        {
            _memory?.Release();
            (Disk as SilentDisk)?.Release();
        }

        public void Dispose()
        {
            _memory?.Dispose();
            File.Delete(_path);
        }
    }

    /// <summary>Takes operations and answers none of them before it is released.</summary>
    private sealed class SilentDisk(long sectors) : Disk(sectors, readOnly: false)
    {
        private readonly List<DiskCompletion> _taken = [];
        private Action? _wake;
        private volatile bool _released;

        public override bool DiscardZeroes => false;

        public override string Describe() => "never answers";

        public override TResult Accept<TResult>(IDiskVisitor<TResult> visitor) => visitor.Visit(new Io(this));

        public void Release()
        {
            _released = true;
            _wake?.Invoke();
        }

        // All members but the release run on the reactor's thread.
        private readonly struct Io(SilentDisk disk) : IDiskIo
        {
            public static bool MovesData => true;

            public void Attach(in DiskAttachment attachment) => disk._wake = attachment.Wake;

            public void Detach() { }

            public int Start(in DiskOperation operation)
            {
                disk._taken.Add(new DiskCompletion { Tag = operation.Tag, Result = operation.LengthBytes });
                return IDiskIo.Pending;
            }

            public int Reap(Span<DiskCompletion> completions)
            {
                if (!disk._released)
                    return 0;
                int count = Math.Min(completions.Length, disk._taken.Count);
                for (int i = 0; i < count; i++)
                    completions[i] = disk._taken[i];
                disk._taken.RemoveRange(0, count);
                return count;
            }
        }
    }

    private static void Draw(IReadOnlyList<Row> rows)
    {
        Table table = new Table()
            .Border(TableBorder.Simple)
            .Title("4 KiB writes at depth 8, each 32nd request a flush, alone and beside a disk that hangs");
        table.AddColumn("hang");
        foreach (string column in (string[])["requests", "waiting", "p99 alone", "beside", "ratio", "A/A", "target"])
            table.AddColumn(new TableColumn(column).RightAligned());
        foreach (Row row in rows)
        {
            table.AddRow(
                row.Hang,
                row.Requests.ToString(CultureInfo.InvariantCulture),
                row.Waiting.ToString(CultureInfo.InvariantCulture),
                Text(row.Ratio.AloneP99Us) + " \u00b5s",
                Text(row.Ratio.BesideP99Us) + " \u00b5s",
                Text(row.Ratio.Median),
                row.Ratio.Spread,
                (row.Holds ? "ok, " : "MISSED, ") + Text(Target)
            );
        }
        Output.Draw(table, width: 160);
    }

    private static string Text(double value) => value.ToString("N2", CultureInfo.InvariantCulture);

    private static void PrintJson(IReadOnlyList<Row> rows) =>
        Output.PrintJson(writer =>
            Output.WriteRows(
                writer,
                rows,
                row =>
                {
                    writer.WriteString("hang", row.Hang);
                    writer.WriteNumber("requests", row.Requests);
                    writer.WriteNumber("waiting", row.Waiting);
                    row.Ratio.WriteTo(writer);
                    writer.WriteBoolean("holds", row.Holds);
                }
            )
        );
}
