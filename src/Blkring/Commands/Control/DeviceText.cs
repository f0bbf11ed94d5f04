using System.Globalization;
using Blkring.Output;
using Spectre.Console;

namespace Blkring.Commands.Control;

/// <summary>The devices of a daemon as tables.</summary>
internal static class DeviceText
{
    private static readonly IAnsiConsole s_console = TextConsole.Create();

    public static void WriteList(IReadOnlyList<DeviceReport> devices, MappedGrantsReport? mapped)
    {
        if (devices.Count == 0)
        {
            s_console.WriteLine("no devices");
            return;
        }
        Table table = TextTable.Create(
            ["device", "name", "state", "size", "mode", "lock", "protocol", "queues", "ring", "features", "image"],
            "size",
            "queues",
            "ring"
        );
        foreach (DeviceReport device in devices)
        {
            table.AddText(
                device.Device,
                device.Name,
                State(device),
                Size(device.CapacityBytes),
                device.ReadOnly ? "r" : "w",
                Lock(device),
                device.Protocol ?? "-",
                Count(device.Queues),
                Count(device.RingPages),
                device.Features.Count == 0 ? "-" : string.Join(' ', device.Features),
                Image(device)
            );
        }
        s_console.Write(table);
        if (mapped is { Taken: > 0 })
            s_console.WriteLine(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"mapped grants: at most {mapped.Taken:N0} of {mapped.Limit:N0}"
                )
            );
        foreach (DeviceReport device in devices.Where(device => device.Limits is not null))
            s_console.WriteLine($"{device.Device}: at most {string.Join(", ", Limits(device.Limits!))}");
        foreach (DeviceReport device in devices.Where(device => device.Delay is not null))
            s_console.WriteLine($"{device.Device}: {device.Delay}");
        foreach (DeviceReport device in devices.Where(device => device.Error is not null))
            s_console.WriteLine($"{device.Device}: {device.Error}", new Style(Color.Red));
    }

    public static void WriteStatistics(
        IReadOnlyList<DeviceReport> before,
        IReadOnlyList<DeviceReport> after,
        double seconds
    )
    {
        Table table = TextTable.Create(
            ["device", "kind", "IOPS", "MB/s", "p50 µs", "p99 µs", "p99.9 µs", "failed", "depth", "batch"],
            "IOPS",
            "MB/s",
            "p50 µs",
            "p99 µs",
            "p99.9 µs",
            "failed",
            "depth",
            "batch"
        );
        foreach (DeviceReport device in after.Where(device => device.Statistics is not null))
        {
            DeviceStatistics now = device.Statistics!;
            // The counters of a frontend that connected in between start from zero.
            DeviceStatistics? earlier = before.FirstOrDefault(report => report.Device == device.Device)?.Statistics;
            string name = device.Device,
                depth = Number(now.QueueDepthMean),
                batch = Number(now.BatchMean);
            foreach ((string kind, KindReport report, KindReport? last) in Kinds(now, earlier))
            {
                long operations = Since(report.Operations, last?.Operations),
                    bytes = Since(report.Bytes, last?.Bytes);
                table.AddRow(
                    name,
                    kind,
                    Number(operations / seconds),
                    Number(bytes / seconds / 1e6),
                    Number(report.P50Us),
                    Number(report.P99Us),
                    Number(report.P999Us),
                    Number(report.Failed),
                    depth,
                    batch
                );
                (name, depth, batch) = ("", "", "");
            }
            if (now.Invalid > 0)
                table.AddRow("", "invalid", "", "", "", "", "", Number(now.Invalid), "", "");
        }
        if (table.Rows.Count == 0)
            s_console.WriteLine("no device is connected");
        else
            s_console.Write(table);
    }

    private static IEnumerable<(string, KindReport, KindReport?)> Kinds(DeviceStatistics now, DeviceStatistics? earlier)
    {
        yield return ("read", now.Read, earlier?.Read);
        yield return ("write", now.Write, earlier?.Write);
        if (now.Flush.Operations + now.Flush.Failed > 0)
            yield return ("flush", now.Flush, earlier?.Flush);
        if (now.Discard.Operations + now.Discard.Failed > 0)
            yield return ("discard", now.Discard, earlier?.Discard);
    }

    private static long Since(long now, long? earlier) => earlier <= now ? now - earlier.Value : now;

    private static string State(DeviceReport device) =>
        device.State == device.FrontendState ? device.State : $"{device.State} (guest: {device.FrontendState})";

    private static string Lock(DeviceReport device) => (device.Lock ?? "-") + (device.Claimed ? ", claimed" : "");

    private static IEnumerable<string> Limits(LimitsReport limits)
    {
        if (limits.Iops > 0)
            yield return $"{limits.Iops} requests/s{(limits.IopsBurst > 0 ? $" and {limits.IopsBurst} at once" : "")}";
        if (limits.BytesPerSecond > 0)
            yield return $"{Size(limits.BytesPerSecond)}/s"
                + (limits.BytesBurst > 0 ? $" and {Size(limits.BytesBurst)} at once" : "");
    }

    private static string Size(long? bytes)
    {
        if (bytes is not long length)
            return "-";
        double size = length;
        int unit = 0;
        for (; size >= 1024 && unit < 4; unit++)
            size /= 1024;
        return size.ToString(size < 10 && size != Math.Floor(size) ? "F1" : "F0", CultureInfo.InvariantCulture)
            + " "
            + (unit == 0 ? "B" : "KMGT"[unit - 1] + "iB");
    }

    // The length and the access are in other columns.
    private static string Image(DeviceReport device) =>
        device.ImagePath is { } path ? $"{(device.BlockDevice ? "block device" : "raw image")} {path}" : device.Image;

    private static string Count(int? value) => value?.ToString(CultureInfo.InvariantCulture) ?? "-";

    private static string Number(double value) =>
        value.ToString(value < 100 && value != Math.Floor(value) ? "N1" : "N0", CultureInfo.InvariantCulture);
}
