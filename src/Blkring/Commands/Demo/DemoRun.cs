using System.Runtime.InteropServices;
using Blkring.Engine;
using Blkring.Output;

namespace Blkring.Commands.Demo;

/// <summary>The demo from its options to its exit code: opens, measures each ABI at each depth, reads everything back, reports.</summary>
internal sealed class DemoRun(DemoOptions options)
{
    /// <summary>The first requests make the runtime compile and load types, on the reactor's thread too: that is no cost of a request.</summary>
    private const double WarmUpSeconds = 0.25;
    private const int WarmUpOperations = 2_000;
    private const int WarmUpRounds = 6;

    private static readonly TimeSpan s_stopTimeout = TimeSpan.FromSeconds(10);

    private readonly List<DemoRow> _rows = [];
    private readonly List<DemoSweep> _sweeps = [];
    private readonly List<string> _faults = [];
    private readonly List<string> _problems = [];
    private readonly List<string> _notes = [];

    /// <exception cref="UsageException">What was asked for cannot be.</exception>
    /// <exception cref="ImageException">The image cannot be served.</exception>
    public int Execute()
    {
        using Interruption interruption = new();
        using Disk disk = DemoDisk.Open(options, interruption);
        using Reactor reactor = StartReactor();
        long sectors = Math.Min(disk.CapacitySectors, DemoDisk.MaxSectors);
        NoteWhatMatters(disk, sectors);

        DemoReport report = new()
        {
            Host = DescribeHost(),
            Options = DemoOptionsReport.From(options),
            Disk = disk.Describe() + (options is { Disk: DiskKind.File, Image: null } ? ", temporary" : ""),
            Engine = reactor.Describe(),
            Notes = _notes,
            Rows = _rows,
            Sweeps = _sweeps,
            Faults = _faults,
            Problems = _problems,
        };
        if (!options.Json) DemoText.WriteHead(report);
        TryMeasure(disk, reactor, sectors, interruption);
        if (options.Json) DemoJson.Write(report);
        else DemoText.WriteResults(report);
        return report.Ok ? ExitCode.Ok : ExitCode.Failed;
    }

    private Reactor StartReactor()
    {
        Reactor reactor = new(new ReactorOptions { UseIoUring = options.Io != IoEngine.Sync });
        if (options.Io != IoEngine.IoUring || reactor.UsesIoUring) return reactor;
        string reason = reactor.Describe();
        reactor.Dispose();
        throw new UsageException($"--io io_uring cannot be had ({reason}): use --io auto or --io sync");
    }

    private void NoteWhatMatters(Disk disk, long sectors)
    {
        if (options.Image is { } path)
            _notes.Add(disk.ReadOnly ? "the image is only read (--write would overwrite it)" : $"the content of {path} is overwritten");
        if (sectors < disk.CapacitySectors)
        {
            _notes.Add($"only the first {sectors >> 21} GiB of {disk.CapacitySectors >> 21} are used: "
                + "the memory of what each sector should hold takes 1/128 of the disk");
        }
    }

    private void TryMeasure(Disk disk, Reactor reactor, long sectors, Interruption interruption)
    {
        GuestOptions guestOptions = new()
        {
            Sectors = sectors,
            Seed = options.Seed,
            ReadOnly = disk.ReadOnly,
            Discard = disk.DiscardSupported,
            DiscardZeroes = disk.DiscardZeroes,
            Baseline = options.Image is null ? null : Path.GetFullPath(options.Image),
        };
        try
        {
            using GuestLink guest = options.Processes == 2 ? RemoteGuest.Start(guestOptions, interruption) : new LocalGuest(guestOptions);
            using ProgressLine progress = new(() => guest.Completed, options.Seconds / options.Depths.Length);
            interruption.OnEnd(progress.Hide);
            foreach (BlkifProtocol protocol in options.Protocols)
            {
                MeasureProtocol(disk, reactor, guest, protocol, progress);
                if (_problems.Count > 0) break;
            }
        }
        catch (GuestLostException e)
        {
            Console.Error.WriteLine("blkring: " + e.Message);
            _problems.Add(e.Message);
        }
    }

    private void MeasureProtocol(Disk disk, Reactor reactor, GuestLink guest, BlkifProtocol protocol, ProgressLine progress)
    {
        string abi = DemoOptions.NameOf(protocol);
        Vbd vbd = new(disk, reactor, new VbdOptions { ReadOnly = disk.ReadOnly });
        try
        {
            guest.Connect(vbd, protocol, options.RingPages);
            WarmUp(guest, abi);
            foreach (int depth in options.Depths)
            {
                if (_problems.Count > 0) return;
                progress.Begin(abi, depth);
                Measure(reactor, guest, abi, depth);
                progress.Hide();
            }
            if (_problems.Count == 0 && !disk.ReadOnly) ReadBack(guest, abi);
        }
        finally
        {
            progress.Hide();
            TakeFaults(vbd, abi);
            // Also when the guest is lost: what it left in flight is waited for, then its memory is let go.
            if (!vbd.Stop(s_stopTimeout)) _problems.Add($"{abi}: the disk still holds requests after {s_stopTimeout.TotalSeconds:F0} s");
        }
        guest.Detach();
    }

    private void WarmUp(GuestLink guest, string abi)
    {
        long operations = 0;
        for (int round = 0; round < WarmUpRounds && operations < WarmUpOperations; round++)
        {
            PhaseResult result = guest.Run(options.Depths[^1], WarmUpSeconds);
            operations += result.Operations;
            if (result.IsRight) continue;
            NoteProblem(abi, "warm-up", result);
            return;
        }
    }

    private void Measure(Reactor reactor, GuestLink guest, string abi, int depth)
    {
        // From an empty nursery, so that a collection in a run is the run's.
        GC.Collect();
        long allocated = reactor.AllocatedBytes;
        int collections = GC.CollectionCount(0);
        PhaseResult result = guest.Run(depth, options.Seconds / options.Depths.Length);
        DemoRow row = DemoRow.From(abi, depth, result, reactor.AllocatedBytes - allocated, GC.CollectionCount(0) - collections);
        _rows.Add(row);

        string where = $"depth {depth}";
        if (!result.IsRight) NoteProblem(abi, where, result);
        if (row.AllocatedBytes != 0) _problems.Add($"{abi}, {where}: the data path allocated {row.AllocatedBytes} bytes");
        if (row.Collections != 0) _problems.Add($"{abi}, {where}: {row.Collections} garbage collections during the run");
        if (result.Operations == 0) _problems.Add($"{abi}, {where}: no request was answered");
    }

    private void ReadBack(GuestLink guest, string abi)
    {
        PhaseResult result = guest.Sweep();
        _sweeps.Add(DemoSweep.From(abi, result));
        if (!result.IsRight) NoteProblem(abi, "final sweep", result);
    }

    private void NoteProblem(string abi, string where, PhaseResult result) => _problems.Add(
        $"{abi}, {where}: {result.Problem ?? "wrong"} ({result.Errors} errors, {result.WrongSectors} wrong sectors)");

    private void TakeFaults(Vbd vbd, string abi)
    {
        if (vbd.Queue is not { } queue) return;
        while (queue.Faults.TryRead(out Fault fault))
        {
            string suppressed = fault.Suppressed > 0 ? $" ({fault.Suppressed} more before it)" : "";
            _faults.Add($"{abi}: {fault.Kind}, operation {fault.Operation}, sector {fault.Sector}, code {fault.Code}{suppressed}");
        }
    }

    private static DemoHost DescribeHost() => new()
    {
        System = RuntimeInformation.OSDescription,
        Kernel = Environment.OSVersion.Version.ToString(),
        Runtime = RuntimeInformation.FrameworkDescription,
        Architecture = RuntimeInformation.ProcessArchitecture.ToString(),
        Processors = Environment.ProcessorCount,
    };
}
