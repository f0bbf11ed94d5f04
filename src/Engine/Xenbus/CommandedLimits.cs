using System.Globalization;
using Blkring.Engine.Errors;
using Blkring.Engine.Queues;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// The limits that commands have set, by VM and virtual device: they outlive a reboot of the guest, and those that are
/// kept in a file a restart of the daemon.
/// </summary>
/// <param name="path">The file; null: none is kept.</param>
internal sealed class CommandedLimits(IControlFiles files, string? path)
{
    private readonly Lock _lock = new();
    private Dictionary<(string Vm, int Number), (ThrottleLimits Limits, bool IsKept)>? _known;

    /// <returns>Null if no command has set any.</returns>
    public ThrottleLimits? Find(DeviceIdentity device)
    {
        if (device.Vm is not { } vm)
            return null;
        lock (_lock)
            return Known().TryGetValue((vm, device.Id.Number), out var found) ? found.Limits : null;
    }

    /// <param name="keep">Also for the next daemon.</param>
    /// <exception cref="XenbusCommandException">They cannot be kept; until the daemon ends they hold.</exception>
    public void Note(DeviceIdentity? device, ThrottleLimits limits, bool keep)
    {
        if (device is not { Vm: { } vm })
        {
            if (keep)
                throw CannotKeep("the toolstack has given its guest neither a uuid nor a name");
            return;
        }
        lock (_lock)
        {
            // What a command sets once more without keeping it must not come back with the next daemon.
            bool wasKept = Known().TryGetValue((vm, device.Id.Number), out var before) && before.IsKept;
            Known()[(vm, device.Id.Number)] = (limits, keep);
            if (keep || wasKept)
                Write();
        }
    }

    private Dictionary<(string Vm, int Number), (ThrottleLimits Limits, bool IsKept)> Known()
    {
        if (_known is not null)
            return _known;
        _known = [];
        string? text = null;
        try
        {
            text = path is null ? null : files.TryRead(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Nothing that was kept can be read: the configuration applies.
        }
        foreach (string line in (text ?? "").Split('\n'))
            if (TryParse(line) is { } entry)
                _known[(entry.Vm, entry.Number)] = (entry.Limits, true);
        return _known;
    }

    private void Write()
    {
        if (path is null)
            throw CannotKeep("this daemon keeps nothing");
        try
        {
            files.Replace(path, string.Concat(_known!.Where(entry => entry.Value.IsKept).Select(Format)));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw CannotKeep(e.Message);
        }
    }

    private static string Format(KeyValuePair<(string Vm, int Number), (ThrottleLimits Limits, bool IsKept)> entry)
    {
        ThrottleLimits limits = entry.Value.Limits;
        long[] numbers = [entry.Key.Number, limits.Iops, limits.IopsBurst, limits.BytesPerSecond, limits.BytesBurst];
        string text = string.Join(' ', numbers.Select(number => number.ToString(CultureInfo.InvariantCulture)));
        return $"{text} {entry.Key.Vm}\n";
    }

    private static (string Vm, int Number, ThrottleLimits Limits)? TryParse(string line)
    {
        // A name may have spaces: it is last.
        string[] parts = line.Split(' ', 6);
        if (parts.Length < 6)
            return null;
        long[] numbers = new long[5];
        for (int i = 0; i < numbers.Length; i++)
            if (!long.TryParse(parts[i], NumberStyles.None, CultureInfo.InvariantCulture, out numbers[i]))
                return null;
        return (
            parts[5],
            (int)numbers[0],
            new ThrottleLimits
            {
                Iops = numbers[1],
                IopsBurst = numbers[2],
                BytesPerSecond = numbers[3],
                BytesBurst = numbers[4],
            }
        );
    }

    private static XenbusCommandException CannotKeep(string why) =>
        new(ErrorCode.LimitsNotKept, $"the limits hold, but are not kept for the next daemon: {why}");
}
