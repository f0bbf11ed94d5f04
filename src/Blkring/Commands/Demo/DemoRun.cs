using System.Runtime.InteropServices;
using Blkring.Commands.Demo.Devices;
using Blkring.Commands.Demo.Guests;
using Blkring.Commands.Demo.Options;
using Blkring.Commands.Demo.Reports;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Output;

namespace Blkring.Commands.Demo;

/// <summary>
/// The demo from its options to its exit code: opens the disk, measures, reads everything back, reports.
/// </summary>
internal sealed class DemoRun(DemoOptions options)
{
    private readonly List<DemoRow> _rows = [];
    private readonly List<DemoComparisonRow> _comparisons = [];
    private readonly List<DemoSweep> _sweeps = [];
    private readonly List<string> _faults = [];
    private readonly List<string> _problems = [];
    private readonly List<string> _notes = [];

    /// <exception cref="UsageException">The options ask for what this machine or disk cannot do.</exception>
    /// <exception cref="ImageException">The image cannot be served.</exception>
    public int Execute()
    {
        using Interruption interruption = new();
        return options.Compare is { } name
            ? Compare(FeatureTrial.Named(name, options.Features), interruption)
            : MeasureDepths(interruption);
    }

    /// <summary>Measures each ABI at each queue depth, on one device.</summary>
    private int MeasureDepths(Interruption interruption)
    {
        using DemoDevice device = new(options, options.Features, longRequests: false, interruption);
        NoteWhatMatters(device);
        DemoReport report = CreateReport(device);
        if (!options.Json)
            DemoText.WriteHead(report);
        GuardGuest(() =>
        {
            device.StartGuest(interruption);
            using ProgressLine progress = new(() => device.Completed, options.Seconds / options.Depths.Length);
            interruption.OnEnd(progress.Hide);
            foreach (BlkifProtocol protocol in options.Protocols)
            {
                MeasureProtocol(device, protocol, progress);
                if (_problems.Count > 0)
                    break;
            }
        });
        return Finish(report);
    }

    /// <summary>Measures each feature with and without it, in each ABI.</summary>
    private int Compare(IReadOnlyList<FeatureTrial> trials, Interruption interruption)
    {
        DemoReport? report = null;
        foreach (FeatureTrial trial in trials)
        {
            using DemoComparison comparison = new(options, trial, interruption);
            if (report is null)
            {
                NoteWhatMatters(comparison.On);
                report = CreateReport(comparison.On);
                if (!options.Json)
                    DemoText.WriteHead(report);
            }
            GuardGuest(() => comparison.Run(interruption, _comparisons, _sweeps, _faults, _problems));
            if (_problems.Count > 0)
                break;
        }
        return Finish(report!);
    }

    private DemoReport CreateReport(DemoDevice device) =>
        new()
        {
            Host = DescribeHost(),
            Options = DemoOptionsReport.From(options),
            Disk = device.Disk.Describe() + (options is { Disk: DiskKind.File, Image: null } ? ", temporary" : ""),
            Engine = device.Engine,
            Features = options.Features.Describe(),
            Notes = _notes,
            Rows = _rows,
            Comparisons = _comparisons,
            Sweeps = _sweeps,
            Faults = _faults,
            Problems = _problems,
        };

    private int Finish(DemoReport report)
    {
        if (options.Json)
            DemoJson.Write(report);
        else
            DemoText.WriteResults(report);
        return report.Ok ? ExitCode.Ok : ExitCode.Failed;
    }

    private void NoteWhatMatters(DemoDevice device)
    {
        if (options.Image is { } path)
            _notes.Add(
                device.Disk.ReadOnly
                    ? "the image is only read (--write would overwrite it)"
                    : $"the content of {path} is overwritten"
            );
        if (device.Sectors < device.Disk.CapacitySectors)
        {
            _notes.Add(
                $"only the first {device.Sectors >> 21} GiB of {device.Disk.CapacitySectors >> 21} are used: "
                    + "to remember what each sector should hold takes 1/128 of that in memory"
            );
        }
    }

    private void GuardGuest(Action action)
    {
        try
        {
            action();
        }
        catch (GuestLostException e)
        {
            Console.Error.WriteLine("blkring: " + e.Message);
            _problems.Add(e.Message);
        }
    }

    private void MeasureProtocol(DemoDevice device, BlkifProtocol protocol, ProgressLine progress)
    {
        string abi = DemoOptions.NameOf(protocol);
        try
        {
            device.Connect(protocol);
            if (device.WarmUp(options.Depths[^1]) is { } wrong)
                NoteProblem(abi, "warm-up", wrong);
            foreach (int depth in options.Depths)
            {
                if (_problems.Count > 0)
                    return;
                progress.Begin(abi, depth);
                Measure(device, abi, depth);
                progress.Hide();
            }
            if (_problems.Count == 0 && !device.Disk.ReadOnly)
                ReadBack(device, abi);
        }
        finally
        {
            progress.Hide();
            _faults.AddRange(device.TakeFaults().Select(fault => $"{abi}: {fault}"));
            // Even if the guest is lost: its requests in flight must end before its memory is released.
            if (!device.Stop())
                _problems.Add($"{abi}: requests are still in flight in the disk after {DemoDevice.StopSeconds:F0} s");
        }
        device.Detach();
    }

    private void Measure(DemoDevice device, string abi, int depth)
    {
        DemoMeasurement measurement = device.Measure(depth, options.Seconds / options.Depths.Length);
        _rows.Add(DemoRow.From(abi, depth, measurement));
        NoteProblems(_problems, $"{abi}, depth {depth}", measurement);
    }

    private void ReadBack(DemoDevice device, string abi)
    {
        PhaseResult result = device.ReadBack();
        _sweeps.Add(DemoSweep.From(abi, result));
        if (!result.IsRight)
            NoteProblem(abi, "final sweep", result);
    }

    private void NoteProblem(string abi, string where, PhaseResult result) =>
        _problems.Add(ProblemOf($"{abi}, {where}", result));

    public static string ProblemOf(string where, PhaseResult result) =>
        $"{where}: {result.Problem ?? "wrong"} ({result.Errors} errors, {result.WrongSectors} wrong sectors)";

    /// <summary>Adds whatever is wrong with a measured run.</summary>
    public static void NoteProblems(List<string> problems, string where, DemoMeasurement measurement)
    {
        if (!measurement.Result.IsRight)
            problems.Add(ProblemOf(where, measurement.Result));
        if (measurement.AllocatedBytes != 0)
            problems.Add($"{where}: the data path allocated {measurement.AllocatedBytes} bytes");
        if (measurement.Collections != 0)
            problems.Add($"{where}: {measurement.Collections} garbage collections during the run");
        if (measurement.Result.Operations == 0)
            problems.Add($"{where}: no request was answered");
    }

    private static DemoHost DescribeHost() =>
        new()
        {
            System = RuntimeInformation.OSDescription,
            Kernel = Environment.OSVersion.Version.ToString(),
            Runtime = RuntimeInformation.FrameworkDescription,
            Architecture = RuntimeInformation.ProcessArchitecture.ToString(),
            Processors = Environment.ProcessorCount,
        };
}
