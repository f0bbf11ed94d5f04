using Blkring.Engine.Queues;

namespace Blkring.Settings;

/// <summary>How guest pages are reached.</summary>
internal enum GrantChoice
{
    /// <summary>What this host does best.</summary>
    Auto,

    /// <summary>The hypervisor copies between the guest's pages and the daemon's.</summary>
    Copy,

    /// <summary>A request's pages are mapped while the disk works on them.</summary>
    Map,

    /// <summary>Pages stay mapped; guests that can keep to the same ones.</summary>
    Persistent,
}

internal enum YesNo
{
    No,
    Yes,
}

internal enum CacheChoice
{
    None,
    Writeback,
    Writethrough,
}

internal enum ThreadChoice
{
    /// <summary>All queues spread over the threads of <see cref="ServeSettings.IoThreads"/>.</summary>
    Shared,
    Dedicated,
}

/// <summary>
/// What the daemon runs with. Every property is a <see cref="ServeKey"/>, where defaults and limits are written.
/// </summary>
internal sealed class ServeSettings
{
    public string Backend { get; set; } = "";
    public int? Frontend { get; set; }
    public CacheChoice Cache { get; set; }
    public GrantChoice Grants { get; set; }
    public int MaxQueues { get; set; }
    public int MaxRingPageOrder { get; set; }
    public int MaxIndirectSegments { get; set; }
    public YesNo NativeSectors { get; set; }
    public YesNo Lock { get; set; }
    public long Iops { get; set; }
    public long IopsBurst { get; set; }

    /// <summary>As <see cref="Sizes"/> reads it, as the next.</summary>
    public string Bandwidth { get; set; } = "";
    public string BandwidthBurst { get; set; } = "";

    /// <summary>Null: one for each CPU, at most <see cref="ServeKey.DefaultMaxIoThreads"/>.</summary>
    public int? IoThreads { get; set; }

    /// <summary>As <see cref="CpuList"/> reads it; empty for any.</summary>
    public string Cpus { get; set; } = "";
    public ThreadChoice ThreadsPerQueue { get; set; }
    public int PollWindowMicroseconds { get; set; }
    public int DrainTimeoutSeconds { get; set; }

    /// <summary>Empty: in the runtime folder, named as the backend.</summary>
    public string ControlSocket { get; set; } = "";
    public string LogLevel { get; set; } = "";
    public Dictionary<string, DeviceOverride> Devices { get; set; } = [];

    /// <summary>The settings of one device: its own where it has some, else the daemon's.</summary>
    public DeviceSettings ForDevice(DeviceName device)
    {
        DeviceOverride? own = Devices
            .Where(entry => DeviceName.Parse(entry.Key) == device)
            .Select(entry => entry.Value)
            .FirstOrDefault();
        return new DeviceSettings
        {
            Cache = own?.Cache ?? Cache,
            Grants = own?.Grants ?? Grants,
            MaxQueues = own?.MaxQueues ?? MaxQueues,
            MaxRingPageOrder = own?.MaxRingPageOrder ?? MaxRingPageOrder,
            MaxIndirectSegments = own?.MaxIndirectSegments ?? MaxIndirectSegments,
            NativeSectors = (own?.NativeSectors ?? NativeSectors) == YesNo.Yes,
            Lock = (own?.Lock ?? Lock) == YesNo.Yes,
            Limits = new ThrottleLimits
            {
                Iops = own?.Iops ?? Iops,
                IopsBurst = own?.IopsBurst ?? IopsBurst,
                BytesPerSecond = Sizes.Parse(own?.Bandwidth ?? Bandwidth),
                BytesBurst = Sizes.Parse(own?.BandwidthBurst ?? BandwidthBurst),
            },
        };
    }
}

/// <summary>What one device is served with.</summary>
internal sealed record DeviceSettings
{
    public required CacheChoice Cache { get; init; }
    public required GrantChoice Grants { get; init; }
    public required int MaxQueues { get; init; }
    public required int MaxRingPageOrder { get; init; }
    public required int MaxIndirectSegments { get; init; }
    public required bool NativeSectors { get; init; }
    public required bool Lock { get; init; }
    public required ThrottleLimits Limits { get; init; }
}

/// <summary>What a device has that differs from the daemon's settings.</summary>
internal sealed class DeviceOverride
{
    public CacheChoice? Cache { get; set; }
    public GrantChoice? Grants { get; set; }
    public int? MaxQueues { get; set; }
    public int? MaxRingPageOrder { get; set; }
    public int? MaxIndirectSegments { get; set; }
    public YesNo? NativeSectors { get; set; }
    public YesNo? Lock { get; set; }
    public long? Iops { get; set; }
    public long? IopsBurst { get; set; }
    public string? Bandwidth { get; set; }
    public string? BandwidthBurst { get; set; }
}
