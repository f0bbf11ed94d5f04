namespace Blkring.AbiTools.Import;

/// <summary>Documentation of the types that ring.h's macros define, because comments inside a macro are lost.</summary>
internal static class RingDocs
{
    public static string Of(string name) =>
        name switch
        {
            "req_prod" => "Requests the frontend has published.",
            "req_event" => "The backend asks for an event when req_prod passes this index.",
            "rsp_prod" => "Responses the backend has published.",
            "rsp_event" => "The frontend asks for an event when rsp_prod passes this index.",
            "pvt_pad" => "Private to other protocols.",
            "__pad" or "pad" => "Keeps the entries off the indexes' cache line.",
            _ when name.EndsWith("_sring", StringComparison.Ordinal) =>
                "The indexes at the start of the shared ring; the entries follow. "
                    + "An index counts up freely and wraps at 2^32.",
            _ => "",
        };
}
