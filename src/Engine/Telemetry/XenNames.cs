using System.Globalization;
using Blkring.Abi;

namespace Blkring.Engine.Telemetry;

/// <summary>
/// The names that Xen's headers give to numbers, for log lines and errors: the generated constants, by value. A number
/// without a name, which a guest may well send, is printed as a number. Allocates for those only.
/// </summary>
public static class XenNames
{
    /// <summary>BLKIF_OP_*</summary>
    public static string Operation(int operation) =>
        operation switch
        {
            Blkif.OpRead => "BLKIF_OP_READ",
            Blkif.OpWrite => "BLKIF_OP_WRITE",
            Blkif.OpWriteBarrier => "BLKIF_OP_WRITE_BARRIER",
            Blkif.OpFlushDiskcache => "BLKIF_OP_FLUSH_DISKCACHE",
            Blkif.OpReserved1 => "BLKIF_OP_RESERVED_1",
            Blkif.OpDiscard => "BLKIF_OP_DISCARD",
            Blkif.OpIndirect => "BLKIF_OP_INDIRECT",
            _ => Unnamed("operation", operation),
        };

    /// <summary>BLKIF_RSP_*</summary>
    public static string ResponseStatus(int status) =>
        status switch
        {
            Blkif.RspOkay => "BLKIF_RSP_OKAY",
            Blkif.RspError => "BLKIF_RSP_ERROR",
            Blkif.RspEopnotsupp => "BLKIF_RSP_EOPNOTSUPP",
            _ => Unnamed("status", status),
        };

    /// <summary>GNTST_*</summary>
    public static string GrantStatus(int status) =>
        status switch
        {
            GrantTable.GntstOkay => "GNTST_okay",
            GrantTable.GntstGeneralError => "GNTST_general_error",
            GrantTable.GntstBadDomain => "GNTST_bad_domain",
            GrantTable.GntstBadGntref => "GNTST_bad_gntref",
            GrantTable.GntstBadHandle => "GNTST_bad_handle",
            GrantTable.GntstBadVirtAddr => "GNTST_bad_virt_addr",
            GrantTable.GntstBadDevAddr => "GNTST_bad_dev_addr",
            GrantTable.GntstNoDeviceSpace => "GNTST_no_device_space",
            GrantTable.GntstPermissionDenied => "GNTST_permission_denied",
            GrantTable.GntstBadPage => "GNTST_bad_page",
            GrantTable.GntstBadCopyArg => "GNTST_bad_copy_arg",
            GrantTable.GntstAddressTooBig => "GNTST_address_too_big",
            GrantTable.GntstEagain => "GNTST_eagain",
            GrantTable.GntstNoSpace => "GNTST_no_space",
            _ => Unnamed("GNTST", status),
        };

    private static string Unnamed(string what, int number) =>
        string.Create(CultureInfo.InvariantCulture, $"{what} {number}");
}
