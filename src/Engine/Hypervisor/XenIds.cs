namespace Blkring.Engine.Hypervisor;

/// <summary>A domain's number: domid_t of xen.h. 0 is dom0.</summary>
public readonly record struct DomainId(ushort Value)
{
    /// <summary>
    /// DOMID_FIRST_RESERVED of xen.h: from here on, numbers are not domains but have special meanings.
    /// </summary>
    public const ushort FirstReserved = 0x7ff0;

    public override string ToString() => Value.ToString(System.Globalization.CultureInfo.InvariantCulture);
}

/// <summary>An index into a domain's grant table: grant_ref_t of grant_table.h.</summary>
public readonly record struct GrantReference(uint Value)
{
    public override string ToString() => Value.ToString(System.Globalization.CultureInfo.InvariantCulture);
}

/// <summary>An event-channel port as the frontend named it: evtchn_port_t of event_channel.h.</summary>
public readonly record struct EventChannelPort(uint Value)
{
    public override string ToString() => Value.ToString(System.Globalization.CultureInfo.InvariantCulture);
}
