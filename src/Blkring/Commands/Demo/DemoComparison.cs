using Blkring.Commands.Demo.Devices;
using Blkring.Commands.Demo.Guests;
using Blkring.Commands.Demo.Options;
using Blkring.Commands.Demo.Reports;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Output;

namespace Blkring.Commands.Demo;

/// <summary>
/// Measures a feature with and without it, on two devices, each with its own disk, threads and guest. They are measured
/// in turn, so that a machine that slows down slows both. While one is measured, the other is idle and costs nothing.
/// </summary>
internal sealed class DemoComparison : IDisposable
{
    private const int Rounds = 4;

    private readonly DemoOptions _options;
    private readonly FeatureTrial _trial;

    /// <exception cref="UsageException">The options ask for what this machine or disk cannot do.</exception>
    /// <exception cref="ImageException">The image cannot be served.</exception>
    public DemoComparison(DemoOptions options, FeatureTrial trial, Interruption interruption)
    {
        (_options, _trial) = (options, trial);
        On = new DemoDevice(options, trial.On, trial.LongRequests, interruption);
        try
        {
            Off = new DemoDevice(options, trial.Off, trial.LongRequests, interruption);
        }
        catch
        {
            On.Dispose();
            throw;
        }
    }

    public DemoDevice On { get; }
    private DemoDevice Off { get; }

    /// <summary>Measures each ABI and adds the results to the lists.</summary>
    public void Run(
        Interruption interruption,
        List<DemoComparisonRow> rows,
        List<DemoSweep> sweeps,
        List<string> faults,
        List<string> problems
    )
    {
        On.StartGuest(interruption);
        Off.StartGuest(interruption);
        using ProgressLine progress = new(() => On.Completed + Off.Completed, _options.Seconds);
        interruption.OnEnd(progress.Hide);
        foreach (BlkifProtocol protocol in _options.Protocols)
        {
            string abi = DemoOptions.NameOf(protocol);
            try
            {
                foreach (DemoDevice device in Both)
                    device.Connect(protocol);
                WarmUp(abi, problems);
                progress.Begin(abi, _trial.Depth);
                if (problems.Count == 0)
                    rows.Add(Measure(abi, problems));
                progress.Hide();
                if (problems.Count == 0)
                    ReadBack(abi, sweeps, problems);
            }
            finally
            {
                progress.Hide();
                foreach (DemoDevice device in Both)
                    Stop(device, abi, faults, problems);
            }
            foreach (DemoDevice device in Both)
                device.Detach();
            if (problems.Count > 0)
                return;
        }
    }

    private DemoDevice[] Both => [On, Off];

    private int Depth => _options.IoDepth ?? _trial.Depth;

    /// <summary>
    /// The queue depth per ring: both sides have the same number of requests in flight, whatever their number of rings.
    /// </summary>
    private int DepthOf(DemoFeatures features) => Math.Max(1, Depth / features.Queues);

    private void WarmUp(string abi, List<string> problems)
    {
        if (On.WarmUp(DepthOf(_trial.On)) is { } wrong)
            problems.Add(DemoRun.ProblemOf($"{abi}, {_trial.With}, warm-up", wrong));
        if (Off.WarmUp(DepthOf(_trial.Off)) is { } alsoWrong)
            problems.Add(DemoRun.ProblemOf($"{abi}, {_trial.Without}, warm-up", alsoWrong));
    }

    private DemoComparisonRow Measure(string abi, List<string> problems)
    {
        List<DemoMeasurement> with = [],
            without = [];
        for (int round = 0; round < Rounds && problems.Count == 0; round++)
        {
            // Each side goes first in half of the rounds.
            if (round % 2 == 0)
                with.Add(MeasureOn(abi, problems));
            without.Add(MeasureOff(abi, problems));
            if (round % 2 != 0)
                with.Add(MeasureOn(abi, problems));
        }
        return DemoComparisonRow.From(_trial, abi, Depth, with, without);
    }

    private DemoMeasurement MeasureOn(string abi, List<string> problems) =>
        Measure(On, DepthOf(_trial.On), $"{abi}, {_trial.With}", problems);

    private DemoMeasurement MeasureOff(string abi, List<string> problems) =>
        Measure(Off, DepthOf(_trial.Off), $"{abi}, {_trial.Without}", problems);

    private DemoMeasurement Measure(DemoDevice device, int depth, string where, List<string> problems)
    {
        DemoMeasurement measurement = device.Measure(depth, _options.Seconds / (2 * Rounds));
        DemoRun.NoteProblems(problems, where, measurement);
        return measurement;
    }

    private void ReadBack(string abi, List<DemoSweep> sweeps, List<string> problems)
    {
        foreach (DemoDevice device in Both)
        {
            if (device.Disk.ReadOnly)
                continue;
            PhaseResult result = device.ReadBack();
            sweeps.Add(DemoSweep.From(abi, result));
            if (!result.IsRight)
                problems.Add(
                    DemoRun.ProblemOf($"{abi}, {(device == On ? _trial.With : _trial.Without)}, final sweep", result)
                );
        }
    }

    private void Stop(DemoDevice device, string abi, List<string> faults, List<string> problems)
    {
        string side = device == On ? _trial.With : _trial.Without;
        faults.AddRange(device.TakeFaults().Select(fault => $"{abi}, {side}: {fault}"));
        if (!device.Stop())
            problems.Add(
                $"{abi}, {side}: requests are still in flight in the disk after {DemoDevice.StopSeconds:F0} s"
            );
    }

    public void Dispose()
    {
        On.Dispose();
        Off.Dispose();
    }
}
